"""Distillation from a file of soft labels instead of a teacher."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.recipes.conftest import DEMO, QUICK, SHORT, distill, logged, record, rows_of, write_rows
from tinybert.data.places import demo_folder
from tinybert.data.tasks import get_task
from tinybert.errors import UserError
from tinybert.models.loading import load_classifier
from tinybert.recipes.evaluate import predict
from tinybert.recipes.task_data import TaskData


@pytest.fixture(scope="module")
def logits(teacher) -> np.ndarray:
    """The teacher's logits of the demo's training rows."""
    loaded, task = load_classifier(str(teacher), labels=("0", "1"), needs_head=True), get_task("demo")
    return predict(loaded.model, TaskData(task, demo_folder(), loaded.tokenizer, 32).store("train"), 64).astype("float32")


@pytest.fixture
def own(tmp_path) -> tuple[object, ...]:
    """The demo's rows as custom files with ids."""
    for split in ("train", "dev"):
        rows = rows_of(demo_folder() / f"{split}.tsv")
        write_rows(tmp_path / f"{split}.tsv", [["id", "text", "label"], *([f"r{i}", *row] for i, row in enumerate(rows[1:]))])
    files = ("--train_file", tmp_path / "train.tsv", "--dev_file", tmp_path / "dev.tsv")
    return "--task_name", "mine", *files, "--text_a_column", "text", "--label_column", "label", "--max_seq_length", "32", *QUICK, *SHORT


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in logged(folder, "prediction")]


def softmax(values: np.ndarray) -> np.ndarray:
    shares = np.exp(values - values.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def test_file_of_the_teachers_logits_gives_the_losses_of_the_teacher(teacher, tinybert_folder, logits, own, tmp_path):
    student = ("--method", "logits", "--student_model_name_or_path", tinybert_folder, "--logging_steps", "1", "--T", "2")
    distill("--teacher_path", teacher, *own, *student, "--output_dir", tmp_path / "live")
    np.save(tmp_path / "order.npy", logits)
    shuffled = np.random.default_rng(0).permutation(len(logits))
    table = [[repr(float(logits[i, 1])), f"r{i}", repr(float(logits[i, 0]))] for i in shuffled]
    write_rows(tmp_path / "ids.tsv", [["1", "id", "0"], *table])
    lines = [{"id": f"r{i}", "probabilities": softmax(logits)[i].tolist()} for i in shuffled]
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, words in {
        "order": ("--teacher_logits", tmp_path / "order.npy"),
        "ids": ("--teacher_logits", tmp_path / "ids.tsv", "--id_column", "id"),
        "shares": ("--teacher_probabilities", tmp_path / "ids.jsonl", "--id_column", "id"),
    }.items():
        distill(*words, *own, *student, "--output_dir", tmp_path / name)
        found = record(tmp_path / name, "prediction")
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "live"), rtol=1e-4)
        assert found["soft_labels"]["rows"] == 700 and "teacher" not in found["models"] and found["teacher_scores"]["accuracy"] > 0.9


def test_default_method_trains_its_prediction_stage_and_resumes(tinybert_folder, logits, tmp_path):
    np.save(tmp_path / "a.npy", logits)
    words = ("--teacher_logits", tmp_path / "a.npy", "--student_model_name_or_path", tinybert_folder, *DEMO, "--checkpoint_steps", "2")
    distill(*words, "--max_steps", "4", "--output_dir", tmp_path / "run")
    first = sorted((tmp_path / "run" / "checkpoints" / "prediction").glob("step_*"))[0]
    distill(*words, "--max_steps", "4", "--output_dir", tmp_path / "run", "--resume", first)
    np.save(tmp_path / "a.npy", logits + 1)
    with pytest.raises(UserError, match="soft_labels"):
        distill(*words, "--max_steps", "4", "--output_dir", tmp_path / "run", "--resume", "auto")


def test_columns_in_another_order_are_found_by_the_labels_of_the_rows(tinybert_folder, logits, tmp_path):
    np.save(tmp_path / "a.npy", logits[:, ::-1])
    words = ("--student_model_name_or_path", tinybert_folder, *DEMO, *SHORT, "--output_dir", tmp_path / "run")
    with pytest.raises(UserError, match="the file of soft labels scores .* on train .*\n.*\nSet --teacher_labels 1,0"):
        distill("--teacher_logits", tmp_path / "a.npy", *words)
    assert not (tmp_path / "run").exists()
    distill("--teacher_logits", tmp_path / "a.npy", *words, "--teacher_labels", "1,0")
    assert record(tmp_path / "run", "prediction")["teacher_scores"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "emd"), "has only logits, but --method emd learns the teacher's hidden states or attention"),
        (("--stage", "both"), "--method tinybert in --stage both learns the teacher's hidden states"),
        (("--max_seq_length", "16", "--train_file", "x", "--dev_file", "y", "--id_column", "id"), "x does not exist"),
        (("--teacher_probabilities", "p.npy"), "--teacher_logits and --teacher_probabilities contradict each other"),
        (("--id_column", "id"), "applies only to your own files"),
    ],
)
def test_contradictory_options_are_refused(tinybert_folder, tmp_path, more, message):
    np.save(tmp_path / "a.npy", np.zeros((5, 2)))
    words = (
        "--teacher_logits",
        tmp_path / "a.npy",
        "--student_model_name_or_path",
        tinybert_folder,
        "--output_dir",
        tmp_path / "run",
        *DEMO,
    )
    with pytest.raises(UserError, match=message):
        distill(*words, *more)


def test_number_of_rows_must_be_that_of_the_training_rows(tinybert_folder, logits, tmp_path):
    np.save(tmp_path / "a.npy", logits[:-1])
    words = ("--teacher_logits", tmp_path / "a.npy", "--student_model_name_or_path", tinybert_folder, "--output_dir", tmp_path / "run")
    with pytest.raises(UserError, match="found 699 rows\nexpected 700, one for each row of train, in order"):
        distill(*words, *DEMO, *SHORT)
    assert not (tmp_path / "run").exists()


def test_rows_that_repeat_an_id_share_its_soft_labels(tinybert_folder, logits, own, tmp_path):
    rows = rows_of(tmp_path / "train.tsv")
    write_rows(tmp_path / "train_aug.tsv", [*rows[:41], *rows[1:41]])
    write_rows(tmp_path / "soft.tsv", [["id", "0", "1"], *([f"r{i}", *row] for i, row in enumerate(logits.tolist()))])
    words = ("--teacher_logits", tmp_path / "soft.tsv", "--student_model_name_or_path", tinybert_folder, "--output_dir", tmp_path / "run")
    with pytest.raises(UserError, match="found 700 rows\nexpected 80, one for each row of train_aug, in order"):
        distill(*words, *own, "--use_aug")
    distill(*words, *own, "--use_aug", "--id_column", "id")
    assert record(tmp_path / "run", "prediction")["data"]["train_aug"]["rows"] == 80


def test_dev_rows_taken_from_the_training_file_need_no_soft_labels(tinybert_folder, logits, own, tmp_path):
    write_rows(tmp_path / "soft.tsv", [["id", "0", "1"], *([f"r{i}", *row] for i, row in enumerate(logits.tolist()))])
    words = ("--teacher_logits", tmp_path / "soft.tsv", "--student_model_name_or_path", tinybert_folder, "--output_dir", tmp_path / "run")
    shared = (*words, *(word for word in own if word not in ("--dev_file", tmp_path / "dev.tsv")), "--dev_share", "0.1")
    with pytest.raises(UserError, match="found 700 rows\nexpected 630, one for each row of train, in order"):
        distill(*shared)
    distill(*shared, "--id_column", "id")
    found = record(tmp_path / "run", "prediction")
    assert found["data"]["train"]["rows"] == 630 and found["teacher_scores"]["accuracy"] > 0.9


@pytest.mark.parametrize(("kind", "label"), [("regression", "{}.5"), ("multi_label", "{}|9")])
def test_other_kinds_of_rows_learn_their_soft_labels(tinybert_folder, own, tmp_path, kind, label):
    for split in ("train", "dev"):
        rows = rows_of(tmp_path / f"{split}.tsv")
        write_rows(tmp_path / f"{split}.tsv", [rows[0], *([*row[:2], label.format(row[2])] for row in rows[1:])])
    gold = np.array([float(row[2][0]) for row in rows_of(tmp_path / "train.tsv")[1:]], "float32")
    option, values = {
        "regression": ("--teacher_logits", gold),
        "multi_label": ("--teacher_probabilities", np.stack([0.9 - 0.8 * gold, 0.1 + 0.8 * gold, np.full_like(gold, 0.9)], 1)),
    }[kind]
    np.save(tmp_path / "a.npy", values)
    words = ("--student_model_name_or_path", tinybert_folder, "--output_dir", tmp_path / "run", *own, "--kind", kind)
    distill(option, tmp_path / "a.npy", *words, "--max_steps", "40", "--learning_rate", "1e-2")
    found = [line["pred"] for line in logged(tmp_path / "run", "prediction")]
    assert found[-1] < found[0]
