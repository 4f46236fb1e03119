"""Weights of labels: how they are computed and read, and runs that use them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinybert as tb
from tests.recipes.conftest import QUICK, demo_sentences, distill, finetune, logged, record
from tinybert.commands.distill import TaskDistillConfig
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS
from tinybert.recipes import finetune as recipe
from tinybert.recipes.label_weights import _given

CLASSIFICATION, MULTI_LABEL = KINDS["classification"], KINDS["multi_label"]


# === Weights ===


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], [700, 50, 3])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert CLASSIFICATION.label_weights(np.bincount(labels), len(labels), None) == pytest.approx(expected)


def test_balanced_weights_of_label_sets_are_those_of_each_label():
    from sklearn.utils.class_weight import compute_class_weight

    gold = np.random.default_rng(1).random((200, 3)) < np.array([0.5, 0.1, 0.02])
    expected = [compute_class_weight("balanced", classes=np.arange(2), y=gold[:, i].astype(int))[::-1] for i in range(3)]
    assert MULTI_LABEL.label_weights(gold.sum(0), 200, None) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("given", [np.array([1.0, 5.0, 2.0]), np.array([100.0, 500.0, 200.0])])
def test_given_weights_keep_their_ratios_and_have_the_mean_one(given):
    counts = np.array([80, 15, 5])
    weights = CLASSIFICATION.label_weights(counts, 100, given)
    assert weights / weights[0] == pytest.approx([1, 5, 2]) and (weights * counts).sum() == pytest.approx(100)
    factors = MULTI_LABEL.label_weights(counts, 100, given)
    assert factors[:, 0] / factors[:, 1] == pytest.approx(given)
    assert factors[:, 0] * counts + factors[:, 1] * (100 - counts) == pytest.approx([100] * 3)


def test_label_without_rows_does_not_change_the_other_weights():
    assert CLASSIFICATION.label_weights(np.array([30, 0, 10]), 40, None).tolist() == pytest.approx([2 / 3, 0, 2])
    assert MULTI_LABEL.label_weights(np.array([0, 40]), 40, None).tolist() == [[1, 1], [1, 1]]


# === Files ===


@pytest.mark.parametrize("text", ['{"a": 1, "b, c": 2.5}', "b, c\t2.5\na\t1\n"])
def test_file_of_weights_is_read_in_the_order_of_the_labels(tmp_path, text):
    path = tmp_path / "weights"
    path.write_text(text, encoding="utf-8-sig")
    assert _given(str(path), ("a", "b, c")).tolist() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}', "found no weight for b\nexpected one weight for each of a, b"),
        ('{"a": 1, "b": 2, "c": 3}', "found 'c', which is not a label"),
        ('{"a": 1, "a": 2, "b": 3}', "found 'a' twice"),
        ('{"a": 1, "b": 0}', "found 0 for 'b'\nexpected a finite number above 0"),
        ('{"a": 1, "b": NaN}', "found nan for 'b'"),
        ('{"a": 1, "b": true}', "found True for 'b'"),
        ('{"a": 1, "b": "2"}', "found '2' for 'b'"),
        ('{"a": 1', "expected a JSON object"),
        ("a\t1\nb\t-2\n", "found -2.0 for 'b'"),
        ("a\t1\nb 2\n", "line 2: found 'b 2'\nexpected a label, a tab and a number"),
        (None, "expected balanced, or a JSON or TSV file"),
    ],
)
def test_wrong_file_of_weights_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "weights").write_text(text)
    with pytest.raises(UserError, match=message):
        _given(str(tmp_path / "weights"), ("a", "b"))


# === Runs ===


@pytest.fixture
def own(tmp_path) -> list:
    """Options for 80 rows of which ten are `rare`."""
    path = tmp_path / "rows.tsv"
    rows = [f"{text}\t{'usual' if i % 8 else 'rare'}\n" for i, text in enumerate(demo_sentences()[:80])]
    path.write_text("text\tlabel\n" + "".join(rows))
    return ["--task_name", "own", "--train_file", path, "--dev_file", path, "--text_a_column", "text", "--label_column", "label", *QUICK]


def losses(folder: Path, stage: str) -> list[float]:
    return [line["loss"] for line in logged(folder, stage)]


def test_balanced_weights_are_printed_recorded_and_used(encoder, own, tmp_path, capsys):
    plain = ["--model_name_or_path", encoder, "--max_steps", 4, *own]
    finetune(*plain, "--output_dir", tmp_path / "plain")
    finetune(*plain, "--output_dir", tmp_path / "balanced", "--class_weights", "balanced")
    entry = record(tmp_path / "balanced", "finetune")
    assert entry["class_weights"] == {"rare": 4.0, "usual": pytest.approx(80 / 140, abs=1e-6)}
    assert entry["settings"]["class_weights"] == {"value": "balanced", "source": "given"}
    assert "class weights: rare 4, usual 0.5714" in capsys.readouterr().out
    assert losses(tmp_path / "plain", "finetune") != losses(tmp_path / "balanced", "finetune")
    assert not {"class_weights"} & {*record(tmp_path / "plain", "finetune"), *record(tmp_path / "plain", "finetune")["settings"]}


@pytest.mark.parametrize("metric", ["macro_f1", "mcc"])
def test_best_model_of_own_files_is_chosen_by_the_given_metric(encoder, own, tmp_path, monkeypatch, metric):
    scores = iter([(0.9, 0.1), (0.8, 0.6), (0.95, 0.2)])  # the metric prefers the second evaluation, accuracy the last one
    monkeypatch.setattr(recipe, "score", lambda *_, **__: dict(zip(("accuracy", metric), next(scores), strict=True)))
    words = ["--model_name_or_path", encoder, "--metric", metric, "--output_dir", tmp_path / "run", *own]
    finetune(*words, "--save_steps", 1, "--max_steps", 3)
    assert record(tmp_path / "run", "finetune")["best"] == {"step": 2, "accuracy": 0.8, metric: 0.6}
    assert (tmp_path / "run" / "best_model_2").is_dir()


def test_student_on_labels_and_teacher_uses_the_weights(teacher, own, tmp_path, capsys):
    weights = tmp_path / "weights.json"
    weights.write_text('{"rare": 8, "usual": 1}')
    words = ["--teacher_path", teacher, "--student_init", "teacher:1,3", "--max_steps", 3, "--teacher_labels", "rare,usual"]
    words += ["--class_weights", weights, "--stage", "both", *own]
    distill(*words, "--output_dir", tmp_path / "mixed", "--alpha", 0.5)
    entry = record(tmp_path / "mixed", "prediction")
    assert entry["class_weights"] == {"rare": pytest.approx(8 * 80 / 150, abs=1e-6), "usual": pytest.approx(80 / 150, abs=1e-6)}
    assert "class_weights" not in record(tmp_path / "mixed", "intermediate")
    distill(*words, "--output_dir", tmp_path / "teacher_only")
    said = capsys.readouterr()
    assert "--class_weights" in said.err and "alpha 1 learns from the teacher alone; give --alpha below 1" in said.err
    assert "class_weights" not in record(tmp_path / "teacher_only", "prediction")


def test_changed_file_of_weights_is_refused_when_resuming(encoder, own, tmp_path):
    weights = tmp_path / "weights.tsv"
    words = ["--model_name_or_path", encoder, "--max_steps", 4, "--checkpoint_steps", 2, "--output_dir", tmp_path / "run", *own]
    for text, resume in (("rare\t3\nusual\t1\n", ()), ("rare\t3\nusual\t2\n", ("--resume", "auto"))):
        weights.write_text(text)
        if resume:
            with pytest.raises(UserError, match="class_weights_file: was"):
                finetune(*words, "--class_weights", weights, *resume)
        else:
            finetune(*words, "--class_weights", weights)


def test_wrong_file_is_refused_before_anything_is_written(encoder, own, tmp_path):
    (tmp_path / "weights.json").write_text('{"rare": 2}')
    with pytest.raises(UserError, match="found no weight for usual"):
        finetune("--model_name_or_path", encoder, "--class_weights", tmp_path / "weights.json", "--output_dir", tmp_path / "run", *own)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("regression", {"alpha": 0.5}, "the labels of regression have no weights"),
        ("question_answering", {"method": "none"}, "the labels of question answering have no weights"),
        ("classification", {"stage": "intermediate"}, "the intermediate stage does not learn from labels"),
        ("classification", {"method": "logits"}, "alpha 1 learns from the teacher alone; give --alpha below 1"),
        ("classification", {"method": "emd"}, "alpha 1 learns from the teacher alone; give --alpha below 1"),
        ("classification", {"alpha": 0.5}, None),
        ("classification", {"use_pred": False}, None),
        ("token_classification", {"method": "none"}, None),
        ("multi_label", {"method": "emd", "alpha": 0.5}, None),
    ],
)
def test_weights_say_where_they_have_no_effect(kind, options, reason):
    config = TaskDistillConfig(
        task_name="own",
        teacher_path="t",
        student_layers=2,
        student_hidden=8,
        student_heads=2,
        output_dir="o",
        class_weights="balanced",
        **({"stage": "prediction"} if not {"method", "stage"} & set(options) else {}),
        **options,
    )
    unused = [entry.reason for entry in config.resolve("own", KINDS[kind]).unused if entry.name == "class_weights"]
    assert unused == ([] if reason is None else [reason])


def test_training_of_the_python_api_takes_class_weights():
    assert tb.Training(class_weights="balanced").options == {"class_weights": "balanced"}
    assert json.dumps(tb.Training(early_stopping_patience=3).options) == '{"early_stopping_patience": 3}'
