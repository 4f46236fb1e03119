"""Distillation on texts without labels, beside labelled rows or instead of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinybert as tb
from tests.recipes.conftest import DEMO, QUICK, SHORT, demo_sentences, distill, finetune, logged, record, rows_of, write_rows
from tinybert.commands.compare import CompareConfig
from tinybert.compare.plan import data_words
from tinybert.data.places import demo_folder
from tinybert.errors import UserError
from tinybert.recipes import teacher_source


@pytest.fixture
def texts(tmp_path) -> Path:
    """Sentences of the demo, one per line, with blank lines between them."""
    path = tmp_path / "texts.txt"
    path.write_text("\n\n".join(demo_sentences()[:60]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def own(tmp_path) -> dict[str, Path]:
    """The demo's rows as files with a header, and texts without labels in two formats."""
    files = {name: tmp_path / f"{name}.tsv" for name in ("train", "dev", "more")}
    for split in ("train", "dev"):
        write_rows(files[split], [["text", "label"], *rows_of(demo_folder() / f"{split}.tsv")[1:]])
    write_rows(files["more"], [["n", "text"], *([i, text] for i, text in enumerate(demo_sentences()[:30]))])
    files["lines"] = tmp_path / "more.jsonl"
    files["lines"].write_text("".join(json.dumps({"text": text}) + "\n" for text in demo_sentences()[30:50]))
    return files


COLUMNS = ("--task_name", "mine", "--text_a_column", "text", "--label_column", "label", "--max_seq_length", "32", *QUICK, *SHORT)


@pytest.mark.parametrize("method", ["logits", "tinybert", "emd", "mud", "minilm", "minilmv2", "pkd", "distilbert"])
def test_every_method_trains_on_texts_without_labels(teacher, texts, tmp_path, method):
    stage = ("--stage", "both") if method in ("tinybert", "mud", "minilm", "minilmv2") else ()
    words = ("--teacher_path", teacher, "--student_init", "teacher:2,4", "--method", method, *stage, "--output_dir", tmp_path / "run")
    distill(*words, "--unlabelled_file", texts, *DEMO, *SHORT)
    for name in ("intermediate", "prediction") if stage else ("prediction",):
        found = record(tmp_path / "run", name)
        assert (found["data"]["train"]["rows"], found["data"]["unlabelled"]["rows"]) == (700, 60)
        assert found["steps_per_epoch"] == 95  # of 8 rows
        assert all(np.isfinite(line["loss"]) for line in logged(tmp_path / "run", name))


def test_several_files_train_without_any_labelled_row(teacher, own, tmp_path):
    words = ("--teacher_path", teacher, "--student_layers", "2", "--method", "logits", "--dev_file", own["dev"], *COLUMNS)
    distill(*words, "--unlabelled_file", own["more"], own["lines"], "--output_dir", tmp_path / "run", "--max_steps", "60")
    found = record(tmp_path / "run", "prediction")
    assert {name: entry["rows"] for name, entry in found["data"].items()} == {"unlabelled": 30, "unlabelled_2": 20, "dev": 200}
    assert found["labels"] == ["0", "1"]  # the teacher's
    lines = [line["pred"] for line in logged(tmp_path / "run", "prediction")]
    assert lines[-1] < lines[0]


def test_run_on_unlabelled_texts_resumes_exactly_and_refuses_others(teacher, texts, tmp_path):
    words = ("--teacher_path", teacher, "--student_init", "teacher:2", "--method", "logits", "--unlabelled_file", texts, *DEMO)
    distill(*words, "--max_steps", "6", "--output_dir", tmp_path / "whole", "--logging_steps", "1")
    distill(*words, "--max_steps", "6", "--output_dir", tmp_path / "run", "--checkpoint_steps", "2", "--logging_steps", "1")
    first = sorted((tmp_path / "run" / "checkpoints" / "prediction").glob("step_*"))[0]
    distill(*words, "--max_steps", "6", "--output_dir", tmp_path / "run", "--resume", first)
    weights = [(tmp_path / name / "final" / "model_state.pdparams").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]
    texts.write_text("another text\n" * 60)
    with pytest.raises(UserError, match="unlabelled"):
        distill(*words, "--max_steps", "6", "--output_dir", tmp_path / "run", "--resume", "auto")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "none"), "--method none learns labels in the prediction stage"),
        (("--method", "logits", "--alpha", "0.5"), "--method logits with --alpha 0.5 learns labels"),
        (("--stage", "both", "--ablation", "pred"), "learns labels in the prediction stage"),
        (("--method", "pkd", "--alpha", "0.5"), "a loss of this run learns labels"),
        (("--text_b_column", "1"), "has no second text"),
        (("--label_column", "label"), "--label_column applies only to your own files"),
        (("--unlabelled_file", "nowhere.txt"), "nowhere.txt does not exist"),
    ],
)
def test_what_needs_labels_or_pairs_is_refused(teacher, texts, tmp_path, more, message):
    words = ("--teacher_path", teacher, "--student_init", "teacher:2", "--unlabelled_file", texts, "--output_dir", tmp_path / "run", *DEMO)
    with pytest.raises(UserError, match=message):
        distill(*words, *more)
    assert not (tmp_path / "run").exists()


def test_tags_pairs_and_fine_tuning_have_no_use_for_unlabelled_texts(teacher, mnli_folder, texts, own, tmp_path, capsys):
    words = ("--teacher_path", teacher, "--student_init", "teacher:2", "--unlabelled_file", texts, "--output_dir", tmp_path / "run")
    with pytest.raises(UserError, match="found single texts, but the rows of MNLI are pairs"):
        distill(*words, "--task_name", "mnli", "--data_dir", mnli_folder)
    with pytest.raises(UserError, match="token classification learns from labelled rows only"):
        distill(*words, *COLUMNS, "--train_file", own["train"], "--dev_file", own["dev"], "--kind", "token_classification")
    finetune("--model_name_or_path", teacher, "--unlabelled_file", texts, "--output_dir", tmp_path / "tuned", *DEMO, *SHORT)
    assert "--unlabelled_file" in (told := capsys.readouterr().err) and "fine-tuning learns labels" in told
    with pytest.raises(UserError, match="--train_file is missing"):
        finetune("--model_name_or_path", teacher, "--dev_file", own["dev"], "--unlabelled_file", texts, "--output_dir", tmp_path, *COLUMNS)


def test_soft_labels_cover_labelled_rows_and_then_texts(tinybert_folder, texts, tmp_path):
    gold = [int(row[1]) for row in rows_of(demo_folder() / "train.tsv")[1:]]
    values = np.concatenate([np.eye(2)[gold] * 4, np.zeros((60, 2))])
    words = ("--student_model_name_or_path", tinybert_folder, "--unlabelled_file", texts, "--method", "logits", *DEMO, *SHORT)
    np.save(tmp_path / "a.npy", values)
    distill(*words, "--teacher_logits", tmp_path / "a.npy", "--output_dir", tmp_path / "run")
    np.save(tmp_path / "b.npy", values[:700])
    with pytest.raises(UserError, match="found 700 rows\nexpected 760, one for each row of train, then unlabelled, in order"):
        distill(*words, "--teacher_logits", tmp_path / "b.npy", "--output_dir", tmp_path / "other")


def test_traces_of_many_rows_are_live_unless_a_store_is_asked_for(teacher, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_source, "MAX_INDEXED", 500)
    words = ("--teacher_path", teacher, "--student_init", "teacher:2", "--unlabelled_file", texts, "--method", "logits", *DEMO)
    distill(*words, "--max_steps", "30", "--batch_size", "64", "--output_dir", tmp_path / "a")
    found = record(tmp_path / "a", "prediction")["teacher_traces"]
    assert found["mode"] == "live" and "the index of a store is in memory" in found["reason"]
    distill(*words, *SHORT, "--teacher_traces", tmp_path / "traces", "--output_dir", tmp_path / "b")
    assert record(tmp_path / "b", "prediction")["teacher_traces"]["rows_computed"] == 32 + 200  # and those of dev


def test_comparison_gives_texts_to_the_methods_that_learn_from_a_teacher(texts, tmp_path):
    config = CompareConfig(task_name="demo", teacher_path="t", output_dir=tmp_path, unlabelled_file=[texts, texts])
    assert data_words(config, augmented=True)[-3:] == ["--unlabelled_file", str(texts), str(texts)]
    assert "--unlabelled_file" not in data_words(config, augmented=False)


def test_python_takes_unlabelled_files_and_texts(teacher, own, texts, tmp_path):
    training = tb.Training(max_steps=4, batch_size=8, max_seq_length=32, device="cpu")
    given = tb.from_files(own["train"], own["dev"], text="text", label="label", unlabelled=texts)
    assert given.rows("unlabelled")[0] == {"text": demo_sentences()[0]}
    rows = [tuple(row) for row in rows_of(own["train"])[1:]]
    held = tb.from_rows(rows[:100], rows[100:200], unlabelled=demo_sentences()[:60])
    for number, data in enumerate((given, held)):
        student = tb.student_from(teacher, [2])
        run = tb.distill(teacher, student, data, method=tb.Logits(), training=training, output_dir=tmp_path / str(number))
        assert run.record["prediction"]["data"]["unlabelled"]["rows"] == 60
    assert run.student.export(tmp_path / "served", "paddle", allow_drop=True).predict(["a fine film"])
