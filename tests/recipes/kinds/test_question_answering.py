"""Extractive question answering: windows, answer spans, published scoring, fine-tuning, distillation and predictions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.recipes.conftest import distill, record
from tests.recipes.kinds.conftest import QUICK, assert_compares, assert_resumes_exactly, train_teacher, write_files
from tests.tiny import word_pieces
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.rows import DataOptions
from tinybert.data import answers
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.questions import NO_POSITION, Question, Windows, encoded, read_questions
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS
from tinybert.models.configuration import trained_on
from tinybert.models.trace import EncoderTrace, Inputs
from tinybert.recipes.task_data import TaskData, log_outputs, task_of

OWN = ("--task_name", "asked", "--doc_stride", "8")
LONG = ("--max_seq_length", "24")


def write_questions(path: Path, count: int, seed: int, labelled: bool = True) -> Path:
    """Texts in which the answer is one of six words and the following word; a fifth of them contain none of the six."""
    random = np.random.default_rng(seed)
    paragraphs = []
    for number in range(count):
        words = [f"word{i}" for i in random.integers(4, 24, random.integers(6, 30))]
        entry: dict = {"id": f"q{number}", "question": "word2 word3"}
        if number % 5:
            at = int(random.integers(1, len(words) - 1))
            words[at : at + 2] = [f"word{random.integers(24, 30)}", f"word{random.integers(0, 2)}"]
            start = len(" ".join(words[:at])) + 1
            entry["answers"] = [{"text": " ".join(words[at : at + 2]), "answer_start": start}]
        else:
            entry |= {"answers": [], "is_impossible": True}
        if not labelled:
            del entry["answers"]
        paragraphs.append({"context": " ".join(words), "qas": [entry]})
    path.write_text(json.dumps({"version": "x", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("asked"), "{}.json", write_questions, 150, 40, 10)


@pytest.fixture(scope="module")
def teacher(words_encoder, files, tmp_path_factory) -> Path:
    return train_teacher(words_encoder, OWN, files, 100, tmp_path_factory.mktemp("runs") / "teacher", *LONG)


def test_teacher_predicts_answer_spans_and_is_scored(teacher, files):
    assert record(teacher, "finetune")["best"]["answer_f1"] > 0.7
    config = json.loads((next(teacher.glob("best_model_*")) / "config.json").read_text())
    assert config["architectures"] == ["BertForQuestionAnswering"] and isinstance(config["null_threshold"], float)
    texts = json.loads((teacher / "asked.json").read_text())
    spans = [json.loads(line) for line in (teacher / "asked_spans.jsonl").read_text().splitlines()]
    contexts = {question.name: question.context for question in read_questions(files["test"]).items}
    assert list(texts) == [span["id"] for span in spans] == list(contexts)
    assert any(texts.values())
    for span in spans:
        assert texts[span["id"]] == span["text"] == contexts[span["id"]][span.get("begin", 0) : span.get("end", 0)]


def test_predictions_for_pairs_are_the_answers_of_the_test_file(teacher, files):
    asked = read_questions(files["test"]).items
    written = json.loads((teacher / "asked.json").read_text())
    found = Predictor.open(next(teacher.glob("best_model_*"))).predict([(question.text, question.context) for question in asked])
    assert [row.spans[0].text if row.spans else "" for row in found] == list(written.values())
    for question, row in zip(asked, found, strict=True):
        assert all(span.text == question.context[span.begin : span.end] for span in row.spans)


@pytest.mark.parametrize(
    ("method", "stage", "student"),
    [
        ("tinybert", "both", ("--student_layers", "2")),
        ("logits", "prediction", ("--student_init", "teacher:1,2")),
        ("emd", "prediction", ("--student_init", "teacher:1,2")),
        ("mud", "both", ("--student_init", "teacher:1,2", "--keep_hidden", "0.5", "--hidden_scheme", "uniform_mask")),
        ("none", "prediction", ("--student_init", "teacher:1,2")),
    ],
)
def test_every_method_distils_a_question_answering_teacher(method, stage, student, teacher, rows, tmp_path):
    distill(
        "--teacher_path", teacher, *student, *rows, *QUICK, *LONG, "--max_steps", 40, "--method", method, "--stage", stage,
        "--output_dir", tmp_path, "--alpha", "0.5",
    )  # fmt: skip
    scores = record(tmp_path, "prediction")["best"]
    assert scores["answer_f1"] > (0.15 if method == "tinybert" else 0.5)  # the student started with random weights, forty steps earlier
    config = json.loads((tmp_path / "best_model" / "config.json").read_text())
    assert config["architectures"] == ["BertForQuestionAnswering"]


def test_stopped_run_resumes_exactly(teacher, rows, tmp_path):
    line = ("--teacher_path", teacher, "--student_init", "teacher:1", *rows, *QUICK, *LONG, "--method", "logits", "--checkpoint_steps", 10)
    assert_resumes_exactly(line, tmp_path)


def test_several_readers_are_averaged_by_logits_only(teacher, rows, tmp_path):
    second = shutil.copytree(next(teacher.glob("best_model_*")), tmp_path / "second")
    line = ("--teacher_path", teacher, second, "--student_init", "teacher:1", *rows, *QUICK, *LONG, "--max_steps", 2, "--method", "logits")
    with pytest.raises(UserError, match="give --teacher_average logits"):
        distill(*line, "--output_dir", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    distill(*line, "--teacher_average", "logits", "--output_dir", tmp_path / "run")
    assert record(tmp_path / "run", "prediction")["averaged"]["of"] == "logits"


def test_unsupported_uses_of_a_reader_are_refused(teacher, rows, tmp_path):
    single = tmp_path / "single.tsv"
    single.write_text("text\tlabel\n" + "".join(f"word{i % 5} word9\t{i % 2}\n" for i in range(10)))
    own = ("--task_name", "x", "--text_a_column", "text", "--label_column", "label", "--train_file", single, "--dev_file", single)
    with pytest.raises(UserError, match="trained for question answering"):
        distill("--teacher_path", teacher, "--student_init", "teacher:1", *own, *QUICK, "--max_steps", 2, "--output_dir", tmp_path / "o")
    with pytest.raises(UserError, match="Give the second text of each row"):
        Predictor.open(next(teacher.glob("best_model_*"))).predict(["word0"])


def test_paddlenlp_and_hugging_face_read_the_same_model(teacher, tmp_path):
    from paddlenlp.transformers import BertForQuestionAnswering
    from safetensors import safe_open

    from tinybert.models.exporting import write_as
    from tinybert.models.loading import load_pretrained
    from tinybert.models.trace import Needs, trace

    folder = next(teacher.glob("best_model_*"))
    theirs, (ours, config) = BertForQuestionAnswering.from_pretrained(str(folder)), load_pretrained(str(folder))
    assert ours.kind is KINDS["question_answering"]
    theirs.eval()
    ours.model.eval()
    ids = paddle.to_tensor([[2, 5, 6, 3, 7, 8, 3]])
    found = trace(ours.model, Inputs(ids, paddle.zeros_like(ids), paddle.ones([1, 7]), padded=False), Needs(logits=True)).logits
    start, end = theirs(ids)
    np.testing.assert_allclose(found.numpy()[..., 0], start.numpy(), atol=1e-5)
    np.testing.assert_allclose(found.numpy()[..., 1], end.numpy(), atol=1e-5)
    assert write_as(tmp_path / "hf", ours, config, "huggingface").difference <= 1e-6
    with safe_open(tmp_path / "hf" / "model.safetensors", "np") as file:
        assert "qa_outputs.weight" in file.keys() and "classifier.weight" not in file.keys()  # noqa: SIM118  it is no dict


# === Reading and windows ===


def test_answers_that_cannot_be_located_are_counted_and_not_trained_on(tmp_path):
    context = "光荣和ω-force开发了它"
    given = [{"text": "光荣", "answer_start": 0}, {"text": "光荣", "answer_start": -1}, {"text": "光荣", "answer_start": 1}]
    qas = [{"id": f"q{i}", "question": "谁?", "answers": [answer]} for i, answer in enumerate(given)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}))
    found = read_questions(path)
    assert (found.answers, found.lost) == (3, 2)
    assert [question.place for question in found.items] == [(0, 2), None, None]
    _, _, _, examples, _, _ = encoded(found.items, word_pieces(), 16, 8, labelled=True)
    assert set(examples.tolist()) == {0}
    _, _, _, examples, _, _ = encoded(found.items, word_pieces(), 16, 8, labelled=False)
    assert set(examples.tolist()) == {0, 1, 2}


def test_cmrc_2018_has_the_published_number_of_unlocatable_answers(real_data):
    path = real_data / "QA" / "cmrc2018" / "dev.json"
    if not path.is_file():
        pytest.skip(f"no {path} here")
    found = read_questions(path)
    assert (len(found.items), found.answers, found.lost) == (3219, 9657, 200)


def test_windows_cover_the_text_and_locate_the_answer():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "q", *(f"w{i}" for i in range(12)), "ca", "##fe"]
    tokenizer = word_pieces(pieces)
    context = "  w0 Café. w2 w3 w4 w5 w6 w7 w8"
    place = (context.index("Café"), context.index("Café") + 4)
    question = Question("a", "q", context, ("Café",), place)
    rows, first, labels, examples, begins, ends = encoded([question], tokenizer, 9, 3, labelled=True)
    starts = np.concatenate([[0], np.cumsum(rows.lengths)])
    assert set(examples.tolist()) == {0} and (first == 3).all() and (rows.lengths <= 9).all()
    seen = set()
    for row, (at, to) in enumerate(labels):
        own = slice(starts[row], starts[row + 1])
        seen |= {(int(b), int(e)) for b, e in zip(begins[own], ends[own], strict=True) if b != NO_POSITION}
        if at:
            assert context[begins[own][at] : ends[own][to]] == "Café"
    assert labels[0].tolist() == [4, 5] and labels[-1].tolist() == [0, 0]
    assert {context[b:e] for b, e in seen} >= {"w0", ".", "w2", "w8"}


@pytest.mark.parametrize("max_length", [16, 32, 200, 400])
def test_every_short_answer_is_whole_in_a_window_by_default(max_length):
    words = [f"word{i % 24}" for i in range(600)]
    context = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words)])
    asked = [
        Question(str(at), "word2", context, ("x",), (int(starts[at]), int(starts[at + 3]) - 1)) for at in range(0, 597, 7)
    ]  # three words each
    _, _, labels, examples, _, _ = encoded(asked, word_pieces(), max_length, None, labelled=True)
    assert set(examples[labels[:, 0] > 0].tolist()) == set(range(len(asked)))


def test_stride_of_the_model_is_recorded_and_a_different_use_is_reported(teacher):
    known = trained_on(json.loads((next(teacher.glob("best_model_*")) / "config.json").read_text()))
    assert known.doc_stride == 8
    assert known.used_differently(replace(known, doc_stride=None)) == ["was trained with --doc_stride 8 and is used with the default"]
    assert not known.used_differently(known)


# === Scores ===


@pytest.mark.parametrize(
    ("gold", "text", "exact", "f1"),
    [
        ("the Denver Broncos", "Denver Broncos.", 1.0, 1.0),
        ("Denver Broncos", "Broncos of Denver", 0.0, 2 * 2 / 5),
        ("308", "309", 0.0, 0.0),
        ("the", "a", 1.0, 1.0),
        ("", "", 1.0, 1.0),
        ("", "Denver", 0.0, 0.0),
    ],
)
def test_english_answers_are_compared_like_squad(gold, text, exact, f1):
    question = Question("a", "who?", "c", (gold,) if gold else (), None)
    assert answers.scores_of(question, text, chinese=False) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("gold", "text", "exact", "f1"),
    [
        ("光荣和ω-force", "光荣和ω-force。", 1.0, 1.0),
        ("光荣和", "和光荣", 0.0, 2 * 2 / 6),  # the longest common run, not a bag of characters
        ("1963年", "1963年，", 1.0, 1.0),
        ("new york市", "york市", 0.0, 2 * 2 / 5),  # words are single tokens
        ("a，b", "ab", 1.0, 1.0),  # punctuation is removed and its neighbours are joined
    ],
)
def test_chinese_answers_are_compared_like_cmrc(gold, text, exact, f1):
    question = Question("a", "谁？", "c", (gold,), None)
    assert answers.scores_of(question, text, chinese=True) == (exact, pytest.approx(f1))


def test_questions_with_and_without_answers_are_scored_separately():
    items = [Question("a", "who?", "c", ("x",), (0, 1)), Question("b", "who?", "c", (), None), Question("c", "who?", "c", ("y",), None)]
    found = answers.of_answers(KINDS["question_answering"].metrics(()), ["x", "z", "n"], items)
    assert found == {
        "answer_f1": pytest.approx(1 / 3), "exact_match": pytest.approx(1 / 3), "average": pytest.approx(1 / 3), "has_answer_f1": 0.5,
        "no_answer_accuracy": 0.0,
    }  # fmt: skip


def windows_of(logits: list[list[float]], items: list[Question], examples: list[int], lengths: list[int]) -> tuple[np.ndarray, Windows]:
    """Windows in which each token after the first is one character."""
    begins = np.concatenate([[NO_POSITION, *range(length - 1)] for length in lengths])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    windows = Windows(np.array(examples), begins, np.where(begins < 0, begins, begins + 1), offsets, items)
    return np.array(logits, float), windows


def test_best_span_of_all_windows_never_ends_before_it_starts():
    item = Question("a", "?", "abc", ("b",), (1, 2))
    # the highest end comes before the highest start: the best pair in order is (b, b)
    logits, windows = windows_of([[0, 0], [1, 9], [8, 5], [0, 0]], [item], [0], [4])
    (best,) = answers.best_answers(logits, windows)
    assert (best.text, best.begin, best.end, best.score, best.null_over_best) == ("b", 1, 2, 13.0, -13.0)
    logits, windows = windows_of([[0, 0], [1, 1], [2, 0], [3, 4]], [item], [0, 0], [2, 2])
    (best,) = answers.best_answers(logits, windows)
    assert best.score == 7.0 and best.null_over_best == 0 - 7.0


def test_null_threshold_is_the_best_one_on_the_dev_set():
    items = [Question("a", "?", "ab", ("a",), (0, 1)), Question("b", "?", "ab", (), None), Question("c", "?", "ab", ("a",), (0, 1))]
    found = [answers.Answer("a", 0, 1, 1.0, value) for value in (-2.0, 0.5, -1.0)]
    threshold = answers.best_threshold(found, items)
    assert answers.texts_of(found, threshold) == ["a", "", "a"]
    assert answers.best_threshold(found[:1], items[:1]) == float("inf")


def test_span_losses_average_starts_and_ends_without_padding():
    from tinybert.objectives.spans import SpanGoldLoss, SpanSoftLoss

    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((2, 2, 4, 2)).astype("float32")
    real = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "float32")
    labels = np.array([[1, 2], [0, 0]])
    ids = paddle.zeros([2, 4], "int64")
    inputs = Inputs(ids, ids, paddle.to_tensor(real), paddle.to_tensor(labels))
    traces = EncoderTrace(logits=paddle.to_tensor(student)), EncoderTrace(logits=paddle.to_tensor(teacher))

    def logs(values: np.ndarray) -> np.ndarray:
        masked = np.where(real[..., None] > 0, values, -1e4)
        return masked - np.log(np.exp(masked).sum(1, keepdims=True))

    ours, theirs = logs(student), logs(teacher)
    expected = -np.mean([ours[row, labels[row, side], side] for row in range(2) for side in range(2)])
    assert float(SpanGoldLoss()(*traces, inputs)) == pytest.approx(expected, rel=1e-5)
    soft = -(np.exp(theirs) * ours).sum(1).mean()
    assert float(SpanSoftLoss()(*traces, inputs)) == pytest.approx(soft, rel=1e-5)


def test_options_of_other_file_kinds_are_refused(files):
    with pytest.raises(UserError, match="--label_column does not apply"):
        custom_task("asked", CustomFiles(files["train"], label_column="x"))
    with pytest.raises(UserError, match="--labels: the answers of question answering have no names"):
        task_of(DataOptions(task_name="asked", train_file=files["train"], dev_file=files["dev"], labels="a,b"))


@pytest.mark.parametrize("kind", ["question_answering", "token_classification", "classification"])
def test_teacher_options_without_effect_are_reported(kind, files):
    config = TaskDistillConfig(
        teacher_path=["t"], task_name="x", student_layers=2, train_file=files["train"], dev_file=files["dev"], output_dir="o",
        teacher_head="relu", teacher_labels="a,b",
    )  # fmt: skip
    unused = {entry.name for entry in config.resolve("x", KINDS[kind]).unused}
    assert ("teacher_head" in unused) == (kind != "classification") and ("teacher_labels" in unused) == (kind == "question_answering")


def test_output_and_baseline_of_questions_are_named_in_words(files, capsys):
    task = custom_task("asked", CustomFiles(files["train"], files["dev"]))
    log_outputs(task, DataOptions(task_name="asked", train_file=files["train"], dev_file=files["dev"]))
    assert "output: start and end of an answer" in capsys.readouterr().out
    item = Question("a", "?", "ab", ("a",), (0, 1))
    logits, windows = windows_of([[0, 0], [1, 1]], [item], [0], [2])
    assert KINDS["question_answering"].score_teacher(task, logits, windows).guess == "the score without answers (0.0000)"


@pytest.mark.parametrize("split", ["train", "dev"])
def test_only_training_answers_are_said_not_to_be_trained_on(split, tmp_path, capsys):
    asked = [{"id": "1", "question": "who?", "answers": [{"text": "Ann", "answer_start": 1}]}]
    asked += [{"id": "2", "question": "who?", "answers": [{"text": "Ann", "answer_start": 0}]}]
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": "Ann lives", "qas": asked}]}]}))
    task = custom_task("asked", CustomFiles(tmp_path / "a.json", tmp_path / "a.json"))
    TaskData(task, tmp_path, word_pieces(), 16).store(split)
    said = capsys.readouterr().err
    assert ("not trained on" in said) == (split == "train") and "are not at their answer_start" in said


def test_students_that_answer_questions_are_compared(teacher, rows, runs_in_this_process, tmp_path):
    assert_compares(teacher, rows, 24, tmp_path / "out")
