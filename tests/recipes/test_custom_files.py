"""Own files and Chinese tasks in both scripts: short real runs on a tiny encoder with a Chinese character vocabulary."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import paddle
import pytest

from tests.recipes.conftest import distill, finetune, logged, record
from tests.tiny import SPECIAL
from tinybert.data.readers import iter_rows
from tinybert.data.tasks import get_task
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.configuration import TrainedOn
from tinybert.models.families import family
from tinybert.models.loading import build
from tinybert.models.saving import save_model

GOOD, BAD = "好棒爱美甜喜", "坏差恨丑苦厌"
QUICK = ("--logging_steps", 5, "--save_steps", 30, "--batch_size", 16, "--device", "cpu")
RATE = ("--learning_rate", 2e-3)


def encoder_of(vocabulary: list[str], folder: Path) -> Path:
    """An untrained BERT with one layer, without dropout."""
    config = {
        "vocab_size": len(vocabulary), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 128, "type_vocab_size": 2, "initializer_range": 0.1, "layer_norm_eps": 1e-12, "pad_token_id": 0,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    paddle.seed(1)
    save_model(folder, build(family("bert"), config, 2, "encoder"), family("bert"), WordPiece(vocabulary), ("0", "1"))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """An encoder for the characters of the made-up rows."""
    return encoder_of([*SPECIAL, *GOOD, *BAD, *"这那很"], tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def chinese(real_data, tmp_path_factory) -> Path:
    """An encoder with the vocabulary of bert-base-chinese."""
    file = real_data / "vocab" / "bert-base-chinese-vocab.txt"
    if not file.is_file():
        pytest.skip(f"no {file} here")
    vocabulary = file.read_text("utf-8").removesuffix("\n").split("\n")  # some entries are Unicode line separators
    assert len(vocabulary) == 21128
    return encoder_of(vocabulary, tmp_path_factory.mktemp("models") / "chinese")


def reviews(count: int) -> list[tuple[str, str]]:
    """Labelled texts in which one character determines the label."""
    rows = []
    for i in range(count):
        words, label = ((GOOD, "praise"), (BAD, "blame"))[i % 2]
        rows.append((f'这"{words[i % 6]}",很{words[(i // 2) % 6]}\n那', label))
    return rows


@pytest.fixture
def csv_files(tmp_path) -> dict[str, Path]:
    """Quoted CSV with line breaks in the fields, and a test file without labels."""
    files = {name: tmp_path / f"{name}.csv" for name in ("train", "dev", "test")}
    for name, count in (("train", 96), ("dev", 24), ("test", 10)):
        with open(files[name], "w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            rows = reviews(count)
            writer.writerows([["review", "verdict"], *rows] if name != "test" else [["review"], *([text] for text, _ in rows)])
    return files


def losses(folder: Path, stage: str = "finetune") -> list[float]:
    """The loss of every logged step."""
    return [line["loss"] for line in logged(folder, stage) if "loss" in line]


def test_own_csv_files_train_a_teacher_and_a_student_that_predict(tmp_path, small, csv_files, capsys):
    own = ["--task_name", "my reviews", "--text_a_column", "review", "--label_column", "verdict"]
    own += ["--train_file", csv_files["train"], "--dev_file", csv_files["dev"], "--test_file", csv_files["test"]]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    finetune(
        "--model_name_or_path",
        small,
        "--output_dir",
        teacher,
        "--max_steps",
        60,
        "--do_train",
        "--do_eval",
        "--do_predict",
        *own,
        *QUICK,
        *RATE,
    )
    assert re.search(r"2 outputs \(.*train\.csv, sorted\): blame, praise", capsys.readouterr().out)
    assert losses(teacher)[-1] < 0.5 * losses(teacher)[0]
    entry = record(teacher, "finetune")
    assert entry["labels"] == ["blame", "praise"] and (entry["data"]["train"]["rows"], entry["data"]["dev"]["rows"]) == (96, 24)
    assert {"accuracy", "macro_f1", "f1"} <= set(json.loads((teacher / "eval_results.json").read_text())["finetune"]["best"])
    lines = (teacher / "my reviews.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction"
    assert lines[1:] == [f"{i}\t{label}" for i, (_, label) in enumerate(reviews(10))]

    distill(
        "--teacher_path", teacher, "--student_init", "teacher:2", "--output_dir", student, "--stage", "both", "--max_steps", 10,
        "--do_train", "--do_eval", "--do_predict", *own, *QUICK, *RATE,
    )  # fmt: skip
    assert len((student / "my reviews.tsv").read_text().splitlines()) == 11
    assert record(student, "prediction")["labels"] == ["blame", "praise"]

    capsys.readouterr()
    text = ("--text_a_column", "review", "--task_name", "mine", *QUICK)
    distill(
        "--student_model_name_or_path", student, "--output_dir", tmp_path / "new", "--do_predict", "--test_file", csv_files["test"], *text
    )
    assert "2 outputs (the model's config.json): blame, praise" in capsys.readouterr().out
    assert (tmp_path / "new" / "mine.tsv").read_text() == (student / "my reviews.tsv").read_text()


def test_label_order_of_the_options_does_not_swap_predictions(tmp_path, small, csv_files):
    own = ["--task_name", "r", "--text_a_column", "review", "--label_column", "verdict", "--dev_file", csv_files["dev"]]
    teacher = tmp_path / "teacher"
    finetune(
        "--model_name_or_path", small, "--output_dir", teacher, "--max_steps", 60, "--train_file", csv_files["train"], *own, *QUICK, *RATE
    )
    for labels in ("blame,praise", "praise,blame"):
        finetune("--model_name_or_path", teacher, "--output_dir", teacher, "--do_eval", "--labels", labels, *own, *QUICK, *RATE)
        assert json.loads((teacher / "eval_results.json").read_text())["evaluation"]["scores"]["accuracy"] > 0.9


def test_resuming_with_other_labels_is_refused(tmp_path, small, csv_files):
    own = ["--task_name", "r", "--text_a_column", "review", "--label_column", "verdict", "--output_dir", tmp_path / "run"]
    own += ["--train_file", csv_files["train"], "--dev_file", csv_files["dev"], "--model_name_or_path", small, "--checkpoint_steps", 2]
    finetune("--max_steps", 4, *own, *QUICK, *RATE)
    checkpoint = sorted((tmp_path / "run" / "checkpoints" / "finetune").glob("step_*"))[0]
    with pytest.raises(UserError, match="labels"):
        finetune("--max_steps", 4, "--labels", "praise,blame", "--resume", checkpoint, *own, *QUICK, *RATE)


def test_own_regression_scores_are_learned(tmp_path, small):
    rows = [{"a": text, "b": "这", "score": 100.0 * (label == "praise") + i % 3} for i, (text, label) in enumerate(reviews(48))]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    own = ["--task_name", "score", "--regression", "--text_a_column", "a", "--text_b_column", "b", "--label_column", "score"]
    own += ["--train_file", tmp_path / "train.json", "--dev_file", tmp_path / "dev.json", "--metric", "spearman"]
    finetune("--model_name_or_path", small, "--output_dir", tmp_path / "t", "--max_steps", 20, *own, *QUICK, *RATE)
    assert losses(tmp_path / "t")[-1] < losses(tmp_path / "t")[0]
    assert "spearman" in json.loads((tmp_path / "t" / "eval_results.json").read_text())["finetune"]["best"]


MADE_UP = {
    "TNEWS": [{"label": f"10{i % 2}", "label_desc": "x", "sentence": text} for i, (text, _) in enumerate(reviews(48))],
    "AFQMC": [{"sentence1": text, "sentence2": "很那", "label": str(i % 2)} for i, (text, _) in enumerate(reviews(48))],
    "ChnSentiCorp": [("label", "text_a"), *((str(i % 2), text.replace("\n", "")) for i, (text, _) in enumerate(reviews(48)))],
}


@pytest.mark.parametrize("name", MADE_UP)
def test_chinese_tasks_train_on_made_up_rows(tmp_path, small, name):
    task, rows = get_task(name), MADE_UP[name]
    for split in ("train", "dev"):
        lines = ["\t".join(row) if isinstance(row, tuple) else json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / task.split(split).file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = tmp_path / "run"
    finetune(
        "--task_name",
        name.lower(),
        "--data_dir",
        tmp_path,
        "--model_name_or_path",
        small,
        "--output_dir",
        run,
        "--max_steps",
        20,
        *QUICK,
        *RATE,
    )
    assert losses(run)[-1] < losses(run)[0]
    assert record(run, "finetune")["labels"] == list(task.labels)


@pytest.mark.parametrize("name", MADE_UP)
def test_chinese_tasks_train_on_real_rows(tmp_path, real_data, chinese, name):
    task = get_task(name)
    source = real_data / task.home / task.folder
    if not source.is_dir():
        pytest.skip(f"no {source} here")
    tokenizer = WordPiece.from_folder(chinese)
    texts = next(iter_rows(task, source, "dev", 500)).text_a
    pieces = [piece for ids in tokenizer.ids(texts) for piece in ids]
    assert pieces.count(tokenizer.unk_id) < 0.03 * len(pieces)  # the vocabulary lacks curly quotes, which are frequent in titles
    for split, count in (("train", 129), ("dev", 33)):
        lines = (source / task.split(split).file).read_text("utf-8").split("\n")[:count]
        (tmp_path / task.split(split).file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = tmp_path / "run"
    words = ["--task_name", name, "--data_dir", tmp_path, "--model_name_or_path", chinese, "--output_dir", run]
    finetune("--max_steps", 30, *words, *QUICK, "--learning_rate", 1e-2)
    assert losses(run)[-1] < 0.9 * losses(run)[0]


def test_model_used_differently_than_trained_gives_warnings(teacher, tmp_path, capsys):
    line = ("--model_name_or_path", teacher, "--task_name", "demo", "--do_eval", "--device", "cpu", "--output_dir", tmp_path / "scores")
    finetune(*line, "--max_seq_length", 32)
    assert "is used with" not in capsys.readouterr().err
    finetune(*line, "--max_seq_length", 16, "--do_lower_case", False)
    told = capsys.readouterr().err
    assert told.count("warning: the model was trained with --max_seq_length 32 and is used with 16") == 1
    assert "was made with do_lower_case True and is used with --do_lower_case False" in told


@pytest.mark.parametrize(("before", "now", "words"), [
    (TrainedOn("a", False, 64), TrainedOn("a", False, 64), None), (TrainedOn(), TrainedOn("a", True, 64), None),
    (TrainedOn("a", False, 64), TrainedOn("b", True, 64), "on single texts and is used on pairs of texts"),
    (TrainedOn("a", False, 64), TrainedOn("a", False, 128), "--max_seq_length 64 and is used with 128"),
])  # fmt: skip
def test_differences_in_use_are_named(before, now, words):
    told = before.used_differently(now)
    assert (words is None and told == []) or (len(told) == 1 and words in told[0])
