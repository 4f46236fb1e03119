"""Fine-tuning on a small scale: what it learns and what it writes."""

from __future__ import annotations

import json
import shutil

import pytest

from tests import tiny
from tests.recipes.conftest import QUICK, finetune, logged, record, rows_of, write_rows
from tinybert.data.places import demo_folder
from tinybert.errors import UserError
from tinybert.models.hub import resolve
from tinybert.models.loading import load_classifier
from tinybert.storage import sha256_of, verify


def test_teacher_learns_the_demo_words(teacher, tmp_path):
    entry = record(teacher, "finetune")
    assert entry["best"]["accuracy"] > 0.58  # 200 rows of two equally large classes: 0.5 by chance, with a standard deviation of 0.035
    labels = [row[1] for row in rows_of(demo_folder() / "dev.tsv")[1:]]
    assert labels.count("1") == labels.count("0") == 100
    losses = [line["loss"] for line in logged(teacher, "finetune")]
    assert len(losses) == 12 and losses[-1] < 0.5 * losses[0]
    write_rows(tmp_path / "data" / "dev.tsv", rows_of(demo_folder() / "train.tsv"))
    words = ("--model_name_or_path", teacher, "--task_name", "demo", "--data_dir", tmp_path / "data", "--output_dir", tmp_path)
    finetune(*words, "--do_eval", "--max_seq_length", 32)
    assert json.loads((tmp_path / "eval_results.json").read_text())["evaluation"]["scores"]["accuracy"] > 0.85


@pytest.mark.both_lanes
def test_run_leaves_a_complete_folder(teacher):
    entry = record(teacher, "finetune")
    best = f"best_model_{entry['best']['step']}"
    assert {best, "final", "log.jsonl", "run.json", "eval_results.json", "plots", "vdl"} <= {path.name for path in teacher.iterdir()}
    assert [path.name for path in teacher.glob("best_model_*")] == [best]
    assert (teacher / "plots/finetune.png").stat().st_size > 5000
    assert resolve(str(teacher)) == teacher / best
    for folder in (teacher / best, teacher / "final"):
        verify(folder)
        assert {"config.json", "model_state.pdparams", "tokenizer_config.json", "vocab.txt"} <= {path.name for path in folder.iterdir()}
    card = (teacher / best / "README.md").read_text()
    for part in (
        "for demo",
        "Licence of the data: fill in",
        "BertForSequenceClassification.from_pretrained",
        f"{entry['best']['accuracy']:.4f}",
    ):
        assert part in card
    results = json.loads((teacher / "eval_results.json").read_text())["finetune"]
    assert results["best_step"] == entry["best"]["step"]
    assert results["best"]["accuracy"] == entry["best"]["accuracy"]
    assert results["final"] == entry["last"]


def test_run_record_contains_what_a_repetition_needs(teacher, encoder):
    entry = record(teacher, "finetune")
    assert {"python", "paddlepaddle", "paddlenlp", "numpy", "tinybert"} <= set(entry["versions"])
    assert entry["settings"]["seed"] == {"value": 42, "source": "default"}
    assert entry["settings"]["learning_rate"] == {"value": 1e-3, "source": "given"}
    assert entry["settings"]["max_steps"]["value"] == entry["total_steps"] == 264
    assert entry["models"]["model"]["sha256"] == sha256_of(encoder / "model_state.pdparams")
    assert entry["models"]["model"]["fresh"] == ["classifier.weight", "classifier.bias"]
    assert entry["data"]["train"] == {"rows": 700, "sha256": sha256_of(demo_folder() / "train.tsv")}
    assert entry["data"]["dev"]["rows"] == 200
    assert (entry["device"], entry["processes"], entry["objective"]) == ("cpu", 1, "loss = 1 gold")
    assert entry["steps_per_epoch"] == 22 and entry["not_reached"] == []
    assert entry["started"] <= entry["finished"] and entry["seconds"] > 0


def test_model_stores_the_labels_of_the_task(teacher):
    loaded = load_classifier(str(teacher), labels=("0", "1"), needs_head=True)
    assert loaded.labels == ("0", "1")
    assert not loaded.report.fresh and not loaded.report.unused


def test_evaluating_again_gives_the_same_score(teacher, tmp_path, capsys):
    best = record(teacher, "finetune")["best"]["accuracy"]
    finetune("--model_name_or_path", teacher, "--task_name", "demo", "--do_eval", "--output_dir", tmp_path, "--max_seq_length", 32)
    shown = capsys.readouterr().out
    assert f"demo: accuracy {best:.4f}" in shown and "max_seq_length" in shown and "learning_rate" not in shown
    found = json.loads((tmp_path / "eval_results.json").read_text())["evaluation"]
    assert found["scores"]["accuracy"] == best
    assert {path.name for path in tmp_path.iterdir()} == {"eval_results.json"}


def test_evaluating_a_run_again_keeps_its_training_results(teacher, tmp_path):
    shutil.copytree(teacher, tmp_path / "run")
    trained = json.loads((tmp_path / "run/eval_results.json").read_text())
    words = ("--model_name_or_path", tmp_path / "run", "--output_dir", tmp_path / "run", "--task_name", "demo", "--max_seq_length", 32)
    finetune(*words, "--do_eval")
    found = json.loads((tmp_path / "run/eval_results.json").read_text())
    assert found["finetune"] == trained["finetune"] and found["evaluation"]["scores"] == trained["finetune"]["best"]


def test_runs_with_the_same_seed_are_equal(encoder, tmp_path):
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        finetune(
            "--model_name_or_path", encoder, "--task_name", "demo", "--output_dir", tmp_path / name, "--max_steps", 3, "--seed", seed,
            *QUICK,
        )  # fmt: skip
    weights = [sha256_of(tmp_path / name / "final/model_state.pdparams") for name in ("one", "two", "three")]
    assert weights[0] == weights[1] != weights[2]


def test_model_without_a_head_cannot_be_evaluated(encoder, tmp_path):
    with pytest.raises(UserError, match="has no trained classifier"):
        finetune("--model_name_or_path", encoder, "--task_name", "demo", "--do_eval", "--output_dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_regression_learns_and_predicts_scores(encoder, sts_folder, tmp_path):
    out = tmp_path / "out"
    finetune(
        "--model_name_or_path", encoder, "--task_name", "sts-b", "--data_dir", sts_folder, "--output_dir", out, "--max_steps", 30,
        *QUICK, "--save_steps", 15, "--learning_rate", 2e-3, "--do_train", "--do_predict",
    )  # fmt: skip
    losses = [line["loss"] for line in logged(out, "finetune")]
    assert losses[-1] < 0.5 * losses[0]
    assert {"pearson", "spearman", "pearson_and_spearman"} <= set(record(out, "finetune")["best"])
    rows = rows_of(out / "STS-B.tsv")
    assert rows[0] == ["index", "prediction"] and [row[0] for row in rows[1:]] == list("012345")
    assert all(0 <= float(row[1]) <= 5 and len(row[1].split(".")[1]) == 3 for row in rows[1:])
    words = (
        "--model_name_or_path",
        out,
        "--task_name",
        "sts-b",
        "--data_dir",
        sts_folder,
        "--output_dir",
        tmp_path / "lines",
        "--do_predict",
    )
    finetune(*words, "--predict_format", "jsonl")
    lines = [json.loads(line) for line in (tmp_path / "lines" / "STS-B.jsonl").read_text().splitlines()]
    assert [(line["id"], f"{line['score']:.2f}") for line in lines] == [(row[0], f"{float(row[1]):.2f}") for row in rows[1:]]


def test_rows_longer_than_128_tokens_are_predicted_as_csv(tmp_path):
    tiny.model_folder(tmp_path / "model", max_position_embeddings=256)
    (tmp_path / "test.tsv").write_text("text\n" + "word1 " * 190 + "\n")
    finetune(
        "--model_name_or_path", tmp_path / "model", "--task_name", "long", "--test_file", tmp_path / "test.tsv", "--text_a_column", "text",
        "--do_predict", "--predict_format", "csv", "--max_seq_length", 200, "--output_dir", tmp_path / "out",
    )  # fmt: skip
    assert len((tmp_path / "out" / "long.csv").read_text().splitlines()) == 2


def test_preset_metric_selects_the_model(encoder, sts_folder, tmp_path, capsys):
    words = ("--model_name_or_path", encoder, "--task_name", "sts-b", "--data_dir", sts_folder, "--max_steps", 2, *QUICK)
    finetune(*words, "--output_dir", tmp_path / "out", "--preset", "paddlenlp")
    assert "best pearson " in capsys.readouterr().out


def test_run_that_cannot_learn_or_be_evaluated_gives_warnings(encoder, tmp_path, capsys):
    rows = rows_of(demo_folder() / "train.tsv")[:9]
    for split in ("train", "dev"):
        write_rows(tmp_path / f"{split}.tsv", [rows[0], *([row[0], "1"] for row in rows[1:])])
    words = ("--model_name_or_path", encoder, "--task_name", "cola", "--max_steps", 1, *QUICK, "--train_file", tmp_path / "train.tsv")
    words += ("--dev_file", tmp_path / "dev.tsv", "--text_a_column", rows[0][0], "--label_column", rows[0][1], "--labels", "0,1")
    finetune(*words, "--output_dir", tmp_path / "out", "--metric", "mcc")
    said = capsys.readouterr().err
    assert "all 8 rows of dev have the same label" in said and "RuntimeWarning" not in said
    assert "the learning rate is 0 in all 1 steps" in said
    finetune(*words, "--output_dir", tmp_path / "other", "--warmup_proportion", 0)
    assert "learning rate" not in capsys.readouterr().err


def test_evaluation_scores_are_written_to_a_file(teacher, tmp_path):
    finetune("--model_name_or_path", teacher, "--task_name", "demo", "--do_eval", "--output_dir", tmp_path / "new", "--max_seq_length", 32)
    scores = json.loads((tmp_path / "new" / "eval_results.json").read_text())["evaluation"]["scores"]
    assert scores["accuracy"] == record(teacher, "finetune")["best"]["accuracy"]


def test_rank_that_does_not_write_prints_nothing(teacher, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    monkeypatch.setattr("tinybert.recipes.evaluate.score", lambda *words: {"accuracy": 0.5})
    words = ("--model_name_or_path", teacher, "--task_name", "demo", "--max_seq_length", 32)
    finetune(*words, "--do_eval", "--output_dir", tmp_path / "out")
    same = ("--model_name_or_path", record(teacher, "finetune")["models"]["model"]["source"].removesuffix("model_state.pdparams"))
    again = (
        "--task_name",
        "demo",
        "--max_steps",
        264,
        "--batch_size",
        32,
        "--learning_rate",
        1e-3,
        "--max_seq_length",
        32,
        "--device",
        "cpu",
    )
    finetune(*same, *again, "--output_dir", teacher, "--resume", "auto")
    assert capsys.readouterr().out == "" and not (tmp_path / "out").exists()


def test_augmented_rows_are_trained_on(encoder, tmp_path):
    folder = tmp_path / "demo"
    rows = rows_of(demo_folder() / "train.tsv")
    write_rows(folder / "train_aug.tsv", rows[:41])
    write_rows(folder / "dev.tsv", rows_of(demo_folder() / "dev.tsv")[:21])
    words = ("--model_name_or_path", encoder, "--task_name", "demo", "--data_dir", folder, "--max_steps", 2, *QUICK)
    finetune(*words, "--output_dir", tmp_path / "out", "--use_aug")
    assert record(tmp_path / "out", "finetune")["data"]["train_aug"]["rows"] == 40
    with pytest.raises(UserError, match="lacks train.tsv"):
        finetune(*words, "--output_dir", tmp_path / "other")
    assert not (tmp_path / "other").exists()
