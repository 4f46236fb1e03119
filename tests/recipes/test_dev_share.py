"""Runs that take their dev rows from the training file."""

from __future__ import annotations

import pytest

import tinybert as tb
from tests.recipes.conftest import QUICK, demo_sentences, distill, finetune, record
from tinybert.data.readers import read_split
from tinybert.errors import UserError


@pytest.fixture
def rows(tmp_path):
    """700 labelled sentences in one file."""
    path = tmp_path / "all.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{'bad' if i % 4 else 'good'}\n" for i, text in enumerate(demo_sentences())))
    return path


def test_teacher_and_student_have_the_same_dev_rows(encoder, rows, tmp_path, capsys):
    own = ["--task_name", "own", "--train_file", rows, "--text_a_column", "text", "--label_column", "label", "--dev_share", 0.1]
    words = ["--model_name_or_path", encoder, "--output_dir", tmp_path / "teacher", "--max_steps", 3, "--checkpoint_steps", 1, *own, *QUICK]
    finetune(*words)
    assert f"dev: 70 of the 700 rows of {rows}" in capsys.readouterr().out
    distill(
        "--teacher_path", tmp_path / "teacher", "--student_init", "teacher:1,3", "--output_dir", tmp_path / "student", "--seed", 7,
        "--max_steps", 2, *own, *QUICK,
    )  # fmt: skip
    teacher, student = record(tmp_path / "teacher", "finetune"), record(tmp_path / "student", "prediction")
    assert teacher["dev_rows"] == student["dev_rows"] and teacher["data"] == student["data"]
    assert (teacher["dev_rows"]["share"], teacher["dev_rows"]["seed"], len(teacher["dev_rows"]["sha256"])) == (0.1, 42, 64)
    assert {name: entry["rows"] for name, entry in teacher["data"].items()} == {"train": 630, "dev": 70}
    assert teacher["settings"]["dev_share"] == {"value": 0.1, "source": "given"}

    checkpoint = tmp_path / "teacher" / "checkpoints" / "finetune" / "step_00000002"
    finetune(*words, "--resume", checkpoint)
    assert record(tmp_path / "teacher", "finetune")["data"] == teacher["data"]
    with pytest.raises(UserError, match="dev_seed: was 42, is 1"):
        finetune(*words, "--resume", checkpoint, "--dev_seed", 1)


def test_data_object_of_the_python_api_takes_a_dev_share(rows):
    data = tb.from_files(rows, text="text", label="label", dev_share=0.1)
    assert (len(data.rows("train")), len(data.rows("dev"))) == (630, 70)
    assert data.options["dev_share"] == 0.1 and not {row["text"] for row in data.rows("dev")} & {row["text"] for row in data.rows("train")}


def test_augmentation_leaves_the_dev_rows_out(rows, tmp_path):
    from tinybert.commands.augment import AugmentConfig
    from tinybert.recipes.task_data import task_of

    columns = {"text_a_column": "text", "label_column": "label"}
    config = AugmentConfig(
        task_name="own", train_file=rows, dev_share=0.1, **columns, pretrained_bert_model="m", glove_embs="g", output_dir=tmp_path
    )
    task = task_of(config)
    dev = read_split(task, "", "dev").text_a
    assert len(dev) == 70 and not set(dev) & set(read_split(task, "", "train").text_a)
