"""Distillation for each kind of task: regression, two development splits, augmented rows."""

from __future__ import annotations

import shutil

import pytest

from tests.recipes.conftest import DEMO, QUICK, SHORT, demo_sentences, distill, finetune, logged, record, rows_of, write_rows
from tinybert.data.places import demo_folder
from tinybert.errors import UserError
from tinybert.models.loading import load_classifier
from tinybert.storage import sha256_of


def test_augmented_rows_are_trained_on_in_their_stage(teacher, tinybert_folder, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo_folder(), folder)
    write_rows(folder / "train_aug.tsv", [["sentence", "label"], *[[text, i % 2] for i, text in enumerate(demo_sentences()[:48])]])
    out = tmp_path / "out"
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--stage", "both", "--use_aug", "--prediction_aug",
        "False", "--data_dir", folder, "--output_dir", out, *DEMO, *SHORT,
    )  # fmt: skip
    first, second = record(out, "intermediate"), record(out, "prediction")
    assert first["data"]["train_aug"] == {"rows": 48, "sha256": sha256_of(folder / "train_aug.tsv")}
    assert (first["steps_per_epoch"], second["steps_per_epoch"]) == (6, 88)
    assert second["data"]["train"]["rows"] == 700


@pytest.mark.parametrize(("recipe", "model"), [(finetune, "--model_name_or_path"), (distill, "--student_model_name_or_path")])
def test_predicting_needs_no_labelled_rows(teacher, tmp_path, recipe, model):
    write_rows(tmp_path / "data/test.tsv", [["index", "sentence"], *[[i, text] for i, text in enumerate(demo_sentences()[:5])]])
    words = (model, teacher, "--task_name", "SST-2", "--data_dir", tmp_path / "data", "--output_dir", tmp_path / "out", *QUICK)
    recipe(*words, "--do_predict")
    assert len(rows_of(tmp_path / "out/SST-2.tsv")) == 6
    with pytest.raises(UserError, match="dev.tsv"):
        recipe(*words, "--do_predict", "--do_eval")


def test_regression_learns_the_teachers_scores(encoder, sts_folder, tmp_path):
    common = ("--task_name", "STS-B", "--data_dir", sts_folder, "--max_seq_length", 64, *QUICK)
    finetune("--model_name_or_path", encoder, "--output_dir", tmp_path / "teacher", *common, "--max_steps", 20, "--learning_rate", 2e-3)
    out = tmp_path / "out"
    distill(
        "--teacher_path", tmp_path / "teacher", "--student_layers", 2, "--stage", "both", "--output_dir", out, *common,
        "--intermediate_max_steps", 6, "--max_steps", 40, "--learning_rate", 1e-2, "--save_steps", 20, "--do_train", "--do_predict",
    )  # fmt: skip
    losses = [line["pred"] for line in logged(out, "prediction")]
    assert losses[-1] < 0.5 * losses[0]
    assert "pearson_and_spearman" in record(out, "prediction")["best"]
    rows = rows_of(out / "STS-B.tsv")
    assert rows[0] == ["index", "prediction"] and [row[0] for row in rows[1:]] == list("012345")
    assert all(0 <= float(row[1]) <= 5 for row in rows[1:])


def test_presets_keep_their_published_regression_targets(encoder, sts_folder, tmp_path):
    common = ("--task_name", "STS-B", "--data_dir", sts_folder, "--max_seq_length", 64, *QUICK, "--max_steps", 2)
    finetune("--model_name_or_path", encoder, "--output_dir", tmp_path / "teacher", *common)
    found = {}
    for preset in ("huawei", "paddlenlp"):
        out = tmp_path / preset
        distill(
            "--teacher_path", tmp_path / "teacher", "--student_init", "teacher:1,3", "--stage", "prediction", "--preset", preset,
            "--output_dir", out, *common,
        )  # fmt: skip
        found[preset] = logged(out, "prediction")[0]
    assert "gold" in found["huawei"] and "pred" not in found["huawei"]
    assert found["paddlenlp"]["pred"] == found["paddlenlp"]["loss"] == 0.0  # the published bug, kept and reported


def test_two_development_splits_are_scored_separately(encoder, mnli_folder, tmp_path):
    common = ("--task_name", "mnli", "--data_dir", mnli_folder, "--max_seq_length", 64, *QUICK, *SHORT)
    finetune("--model_name_or_path", encoder, "--output_dir", tmp_path / "teacher", *common)
    out = tmp_path / "out"
    distill(
        "--teacher_path", tmp_path / "teacher", "--student_layers", 2, "--output_dir", out, *common, "--do_train", "--do_predict",
        "--stage", "prediction",
    )  # fmt: skip
    entry = record(out, "prediction")
    assert {"accuracy", "mismatched_accuracy"} <= set(entry["best"])
    assert (entry["data"]["dev_matched"]["rows"], entry["data"]["dev_mismatched"]["rows"]) == (12, 11)
    # 12 rows give twelfths, 11 rows elevenths
    assert (entry["best"]["accuracy"] * 12) == pytest.approx(round(entry["best"]["accuracy"] * 12), abs=1e-9)
    assert (entry["best"]["mismatched_accuracy"] * 11) == pytest.approx(round(entry["best"]["mismatched_accuracy"] * 11), abs=1e-9)
    for file, first, count in (("MNLI-m.tsv", 400, 7), ("MNLI-mm.tsv", 500, 5)):
        rows = rows_of(out / file)
        assert rows[0] == ["index", "prediction"]
        assert [row[0] for row in rows[1:]] == [str(first + i) for i in range(count)]
        assert {row[1] for row in rows[1:]} <= {"contradiction", "entailment", "neutral"}
    labels = load_classifier(str(out), labels=("contradiction", "entailment", "neutral"), needs_head=True).labels
    assert labels == ("contradiction", "entailment", "neutral")
