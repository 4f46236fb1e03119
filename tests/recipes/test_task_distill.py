"""Distillation on a small scale: each kind of student, method and preset, and what a run writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.recipes.conftest import DEMO, LABELS, SHORT, distill, logged, record, rows_of, write_rows
from tests.tiny import arrays_of
from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.data.places import demo_folder
from tinybert.data.store import TokenStore
from tinybert.data.tasks import get_task
from tinybert.errors import UserError
from tinybert.kinds.registry import DEFAULT
from tinybert.models.loading import load_classifier
from tinybert.models.projections import layout_of
from tinybert.objectives.trained_layer import Teacher, TrainedLayer
from tinybert.recipes.evaluate import held_out_loss, predict
from tinybert.storage import sha256_of, verify


@pytest.fixture(scope="module")
def fresh_run(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages for a new student of 2 x 24."""
    out = tmp_path_factory.mktemp("runs") / "fresh"
    distill(
        "--teacher_path", teacher, "--student_layers", 2, "--student_hidden", 24, "--student_heads", 4, "--stage", "both",
        "--output_dir", out, *DEMO, "--max_steps", 6,
    )  # fmt: skip
    return out


# === Results of a run ===


@pytest.mark.both_lanes
def test_two_stages_leave_a_complete_folder(fresh_run):
    models = {"best_inter_model", "final_inter_model", "best_model", "final"}
    assert models | {"run.json", "log.jsonl", "eval_results.json", "plots", "vdl"} <= {path.name for path in fresh_run.iterdir()}
    for name in models:
        verify(fresh_run / name)
    assert {path.name for path in (fresh_run / "plots").iterdir()} == {"intermediate.png", "prediction.png"}
    results = json.loads((fresh_run / "eval_results.json").read_text())
    assert "accuracy" in results["prediction"]["best"]
    assert {"held_out_loss", "held_out_embd", "held_out_hidn", "held_out_attn"} == set(results["intermediate"]["best"])
    assert [line["step"] for line in logged(fresh_run, "intermediate")] == [2, 4, 6]
    assert [line["step"] for line in logged(fresh_run, "prediction", "evaluation")] == [3, 6]


def test_logged_loss_is_the_sum_of_its_parts(fresh_run):
    for line in logged(fresh_run, "intermediate"):
        assert line["loss"] == pytest.approx(line["embd"] + line["hidn"] + line["attn"], rel=1e-5)
    for line in logged(fresh_run, "intermediate", "evaluation"):
        whole = sum(line[f"held_out_{name}"] for name in ("embd", "hidn", "attn"))
        assert line["held_out_loss"] == pytest.approx(whole, rel=1e-5)


def test_run_record_contains_what_a_repetition_needs(fresh_run, teacher):
    for stage in ("intermediate", "prediction"):
        entry = record(fresh_run, stage)
        assert {"python", "paddlepaddle", "paddlenlp", "numpy", "tinybert"} <= set(entry["versions"])
        assert entry["settings"]["seed"]["value"] == 42 and entry["preset"] == "sound" and entry["device"] == "cpu"
        best = record(teacher, "finetune")["best"]["step"]
        assert entry["models"]["teacher"]["sha256"] == sha256_of(teacher / f"best_model_{best}" / "model_state.pdparams")
        assert (entry["models"]["student"]["layers"], entry["models"]["student"]["hidden"]) == (2, 24)
        assert entry["data"]["train"] == {"rows": 700, "sha256": sha256_of(demo_folder() / "train.tsv")}
        assert entry["finished"] is not None and entry["total_steps"] == 6
    first, second = record(fresh_run, "intermediate"), record(fresh_run, "prediction")
    assert first["objective"] == "loss = 1 embd + 1 hidn + 1 attn" and second["objective"] == "loss = 1 pred"
    assert first["layer_map"] == [[0, 0], [1, 2], [2, 4]]
    assert first["projection"] == {"mode": "shared", "origin": "fresh"}
    assert sorted(first["not_reached"]) == [
        "student.classifier.bias",
        "student.classifier.weight",
        "student.tinybert.pooler.dense.bias",
        "student.tinybert.pooler.dense.weight",
    ]
    assert second["not_reached"] == []
    assert second["models"]["student"]["sha256"] == sha256_of(fresh_run / "best_inter_model/model_state.pdparams")
    assert second["teacher_scores"]["accuracy"] == record(teacher, "finetune")["best"]["accuracy"]


def test_projection_is_passed_on_to_the_next_run(fresh_run, teacher, tmp_path):
    found = load_classifier(str(fresh_run / "best_inter_model"), labels=LABELS, needs_head=False)
    assert layout_of(found.projections) == "shared"
    assert found.projections["fit_dense.weight"].shape == (24, 32)
    assert not load_classifier(str(fresh_run / "best_model"), labels=LABELS, needs_head=True).projections
    out = tmp_path / "again"
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", fresh_run / "best_inter_model", "--stage", "intermediate",
        "--output_dir", out, *DEMO, "--max_steps", 1, "--learning_rate", 1e-9,
    )  # fmt: skip
    assert record(out, "intermediate")["projection"] == {"mode": "shared", "origin": "from the student's checkpoint"}
    before, after = (record(folder, "intermediate")["best"] for folder in (fresh_run, out))
    for name in ("held_out_loss", "held_out_embd", "held_out_hidn", "held_out_attn"):
        assert after[name] == pytest.approx(before[name], rel=1e-5)


def test_evaluating_the_student_again_gives_the_same_score(fresh_run, tmp_path, capsys):
    best = record(fresh_run, "prediction")["best"]["accuracy"]
    distill("--student_model_name_or_path", fresh_run, "--do_eval", "--output_dir", tmp_path / "out", *DEMO)
    assert f"demo: accuracy {best:.4f}" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/eval_results.json").read_text())["evaluation"]["scores"]["accuracy"] == best


def test_results_of_the_same_stage_are_not_overwritten(fresh_run, teacher):
    before = sha256_of(fresh_run / "best_model/model_state.pdparams")
    words = ("--teacher_path", teacher, "--student_init", "teacher:1,3", "--output_dir", fresh_run, *DEMO, *SHORT)
    for stage in ("intermediate", "prediction", "both"):
        with pytest.raises(UserError, match="already holds results of the (intermediate|prediction) stage"):
            distill(*words, "--stage", stage)
    assert sha256_of(fresh_run / "best_model/model_state.pdparams") == before


# === Methods and presets ===


def test_held_out_loss_does_not_depend_on_the_teachers_dropout(teacher, tinybert_folder):
    words = ("--task_name", "demo", "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--output_dir", "o")
    parsed = parse(TaskDistillConfig, [*map(str, words), "--preset", "huawei", "--stage", "intermediate"])
    settings = parsed.resolve("demo", DEFAULT)["intermediate"]
    student = load_classifier(str(tinybert_folder), labels=LABELS, needs_head=False)
    live = load_classifier(str(teacher), labels=LABELS, needs_head=True)
    layer = TrainedLayer(student.model, settings.method_object.objective(settings, DEFAULT, student, live).objective)
    layer.train()
    frozen = Teacher(live.model, layer.objective.needs_teacher, settings.teacher_mode)
    store = TokenStore.build_or_open(get_task("demo"), demo_folder(), "dev", student.tokenizer, 32)
    first, second = (held_out_loss(layer, frozen, store, 64) for _ in range(2))
    assert settings.teacher_mode == "train" and first == second
    assert live.model.training and layer.training  # training mode is restored


def test_logits_method_needs_no_intermediate_stage(teacher, tinybert_folder, tmp_path):
    out = tmp_path / "out"
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--method", "logits", "--output_dir", out, *DEMO,
        *SHORT, "--alpha", 0.5, "--T", 2,
    )  # fmt: skip
    assert record(out, "prediction")["objective"] == "loss = 0.5 pred + 0.5 gold"
    for line in logged(out, "prediction"):
        assert line["loss"] == pytest.approx(0.5 * line["pred"] + 0.5 * line["gold"], rel=1e-5)


def test_method_none_needs_no_teacher(tinybert_folder, tmp_path):
    out = tmp_path / "out"
    distill("--student_model_name_or_path", tinybert_folder, "--method", "none", "--output_dir", out, *DEMO, *SHORT)
    entry = record(out, "prediction")
    assert entry["objective"] == "loss = 1 gold" and "teacher" not in entry["models"] and "teacher_scores" not in entry


@pytest.mark.parametrize(
    ("preset", "conventions"),
    [
        ("huawei", ("shared", "bertadam", "train", "relu", "frozen")),
        ("paddlenlp", ("per_layer", "adamw", "train", "trained", "free")),
        ("paper", ("shared", "adamw", "eval", "trained", "free")),
    ],
)
def test_preset_is_applied(teacher, tmp_path, preset, conventions):
    out = tmp_path / "out"
    distill(
        "--teacher_path", teacher, "--student_layers", 2, "--student_hidden", 24, "--stage", "both", "--preset", preset,
        "--output_dir", out, *DEMO, "--max_steps", 2,
    )  # fmt: skip
    names = ("projection", "optimizer", "teacher_mode", "teacher_head", "pad_embedding")
    assert tuple(record(out, "intermediate")["settings"][name]["value"] for name in names) == conventions
    assert record(out, "intermediate")["projection"]["mode"] == conventions[0]
    assert record(out, "intermediate")["layer_map"] == [[0, 0], [1, 2], [2, 4]]  # `double` too: correct for 2 of 4
    first, second = (logged(out, stage)[0] for stage in ("intermediate", "prediction"))
    assert {"embd", "hidn", "attn"} < set(first) and second["pred"] == second["loss"]


def test_frozen_padding_row_is_not_trained(teacher, tinybert_folder, tmp_path):
    rows = []
    for choice in ("free", "frozen"):
        out = tmp_path / choice
        distill(
            "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--stage", "intermediate", "--output_dir", out,
            *DEMO, *SHORT, "--pad_embedding", choice, "--hidden_reduction", "mean", "--weight_decay", 0, "--pad_to_max_length",
        )  # fmt: skip
        rows.append(arrays_of(load_classifier(str(out / "final_inter_model"), labels=LABELS, needs_head=False).model))
    name = "tinybert.embeddings.word_embeddings.weight"
    before = arrays_of(load_classifier(str(tinybert_folder), labels=LABELS, needs_head=False).model)[name][0]
    assert np.abs(rows[0][name][0] - before).max() > 0
    np.testing.assert_array_equal(rows[1][name][0], before)


# === Learning ===


@pytest.fixture
def few_rows(tmp_path: Path) -> Path:
    """Thirty-two rows used for both training and evaluation."""
    folder = tmp_path / "few"
    rows = rows_of(demo_folder() / "train.tsv")[:33]
    for file in ("train.tsv", "dev.tsv"):
        write_rows(folder / file, rows)
    return folder


def test_intermediate_loss_falls_on_repeated_rows(teacher, few_rows, tmp_path):
    out = tmp_path / "out"
    distill(
        "--teacher_path", teacher, "--student_layers", 2, "--student_hidden", 24, "--student_heads", 4, "--stage", "intermediate",
        "--data_dir", few_rows, "--output_dir", out, *DEMO, "--batch_size", 32, "--max_steps", 60, "--learning_rate", 5e-3,
        "--logging_steps", 10, "--save_steps", 30,
    )  # fmt: skip
    lines = logged(out, "intermediate")
    for name in ("embd", "hidn", "attn"):
        assert lines[-1][name] < 0.7 * lines[0][name], name
    evaluations = logged(out, "intermediate", "evaluation")
    assert evaluations[-1]["held_out_loss"] < evaluations[0]["held_out_loss"]


def test_student_comes_to_agree_with_its_teacher(teacher, few_rows, tmp_path):
    out = tmp_path / "out"
    distill(
        "--teacher_path", teacher, "--student_init", "teacher:1,3", "--stage", "prediction", "--data_dir", few_rows,
        "--output_dir", out, *DEMO, "--batch_size", 32, "--max_steps", 40, "--learning_rate", 2e-3, "--save_steps", 20,
    )  # fmt: skip
    answers = []
    for folder in (teacher, out / "final"):
        found = load_classifier(str(folder), labels=LABELS, needs_head=True)
        store = TokenStore.build_or_open(get_task("demo"), few_rows, "dev", found.tokenizer, 32)
        answers.append(predict(found.model, store, 32))
    assert (answers[0].argmax(1) == answers[1].argmax(1)).sum() >= 31
    chances = np.exp(answers[0]) / np.exp(answers[0]).sum(1, keepdims=True)
    floor = -(chances * np.log(chances)).sum(1).mean()  # the student's loss cannot be below its teacher's entropy
    losses = [line["pred"] for line in logged(out, "prediction")]
    assert losses[-1] - floor < 0.2 * (losses[0] - floor)


# === Stopping and resuming ===


def test_stopped_run_resumes(teacher, tinybert_folder, tmp_path, capsys):
    words = (
        "--teacher_path", teacher, "--student_model_name_or_path", tinybert_folder, "--stage", "prediction", *DEMO, "--max_steps", 4,
        "--checkpoint_steps", 2,
    )  # fmt: skip
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    distill(*words, "--output_dir", through)
    distill(*words, "--output_dir", stopped)
    # as if stopped after step 3, with the checkpoint of step 2 on disk
    shutil.rmtree(stopped / "checkpoints/prediction/step_00000004")
    entry = json.loads((stopped / "run.json").read_text())
    entry["prediction"]["finished"] = None
    (stopped / "run.json").write_text(json.dumps(entry))
    for name in ("final", "best_model"):
        shutil.rmtree(stopped / name)
    capsys.readouterr()
    distill(*words, "--output_dir", stopped, "--resume", "auto")
    assert "resuming the prediction stage from" in (said := capsys.readouterr().out) and "at step 2" in said
    assert sha256_of(stopped / "final/model_state.pdparams") == sha256_of(through / "final/model_state.pdparams")
    assert [line["step"] for line in logged(stopped, "prediction")] == [2, 4]


# === Refusals ===


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--layer_map", "0:0,1:9"), "1:9 is out of range"),
        (("--projection", "none"), "width 24 and the teacher 32"),
        (("--embedding_weight", "0", "--use_rep", "False", "--use_att", "False"), "nothing is left to learn.*embedding_weight is 0"),
        (("--max_seq_length", "500"), "exceeds the 128 positions of the teacher"),
        (("--layer_map", "double", "--student_layers", "3"), "3:6 is out of range"),
    ],
)
def test_impossible_intermediate_stage_is_refused(teacher, tmp_path, more, words):
    with pytest.raises(UserError, match=words):
        distill(
            "--teacher_path", teacher, "--student_layers", 2, "--student_hidden", 24, "--student_heads", 4, "--stage", "intermediate",
            "--output_dir", tmp_path / "out", *DEMO, *SHORT, *more,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_missing_data_leaves_no_output_folder(teacher, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="lacks train.tsv, dev.tsv"):
        distill(
            "--teacher_path", teacher, "--student_init", "teacher:1,3", "--stage", "intermediate", "--data_dir", tmp_path / "data",
            "--output_dir", tmp_path / "out", *DEMO, *SHORT,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_different_head_counts_are_refused_with_advice(teacher, tmp_path):
    words = (
        "--teacher_path", teacher, "--student_layers", 2, "--student_hidden", 24, "--student_heads", 2, "--stage", "intermediate",
        *DEMO, *SHORT,
    )  # fmt: skip
    with pytest.raises(UserError, match="--attention_heads average"):
        distill(*words, "--output_dir", tmp_path / "no")
    assert not (tmp_path / "no").exists()
    distill(*words, "--output_dir", tmp_path / "yes", "--attention_heads", "average")
    assert record(tmp_path / "yes", "intermediate")["objective"] == "loss = 1 embd + 1 hidn + 1 attn"
