"""A weak teacher, or one with another label order, is found before a student is trained."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

from tests.tiny import model_folder
from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.data.custom_files import listed_labels, with_metric
from tinybert.data.tasks import get_task
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS
from tinybert.recipes.teacher_check import described, validate_teacher
from tinybert.recipes.teacher_source import LazyTeacher


def _examine(task, logits, labels):
    return task.kind.score_teacher(task, logits, labels)


def _logits(labels: np.ndarray, classes: int, right: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    told = np.where(random.random(len(labels)) < right, labels, random.integers(0, classes, len(labels)))
    return np.eye(classes)[told] * 3.0


def _labels(classes: int, rows: int = 600, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, rows)


def test_teacher_with_another_label_order_is_refused():
    task, labels = get_task("MNLI"), _labels(3)
    swapped = _logits(labels, 3, 0.8)[:, [1, 2, 0]]  # output 0 is that of label 1, and so on
    finding = _examine(task, swapped, labels)
    assert finding.better_order == ("entailment", "neutral", "contradiction") and finding.better_accuracy > 0.8
    with pytest.raises(UserError, match="--teacher_labels entailment,neutral,contradiction"):
        validate_teacher(task, finding, allowed=True, named=False)


def test_weak_teacher_with_named_labels_gets_a_fitting_message():
    task, labels = get_task("MNLI"), _labels(3)
    finding = _examine(task, _logits(labels, 3, 0.8)[:, [1, 2, 0]], labels)
    (order, weak) = validate_teacher(task, finding, allowed=True, named=True)
    assert "if its outputs stand for entailment, neutral, contradiction" in order and "its label names are used" in order
    assert "majority class" in weak
    with pytest.raises(UserError, match="(?s)its label names are used.*--allow_weak_teacher") as refused:
        validate_teacher(task, finding, allowed=False, named=True)
    assert "has no label names" not in str(refused.value)


def test_good_teacher_with_named_labels_is_accepted_despite_the_order():
    task, random = get_task("MNLI"), np.random.default_rng(6)
    labels = np.array([0] * 200 + [1] * 200 + [2] * 200)
    # label 2 is recognised well, labels 0 and 1 are mostly confused: above the baseline, and better if swapped
    told = np.where(labels == 2, 2, np.where(random.random(600) < 0.7, 1 - labels, labels))
    finding = _examine(task, np.eye(3)[told], labels)
    assert not finding.weak and finding.better_order == ("entailment", "contradiction", "neutral")
    assert len(validate_teacher(task, finding, allowed=False, named=True)) == 1


def test_suggested_labels_can_be_passed_to_the_option():
    task = replace(get_task("MNLI"), labels=("bad, very", 'so "so"', "good"))
    labels = _labels(3)
    with pytest.raises(UserError) as refused:
        validate_teacher(task, _examine(task, _logits(labels, 3, 0.8)[:, [1, 2, 0]], labels), allowed=False, named=False)
    words = shlex.split(re.search("(--teacher_labels .*), or add", str(refused.value))[1])
    assert listed_labels(words[1], words[0]) == ('so "so"', "good", "bad, very")


@pytest.mark.parametrize(
    ("given", "labels"), [("0, 1", ("0", "1")), ("1, 0", ("0", "1")), ('good,"bad, very"', ("bad, very", "good")), ("anything", ())]
)
def test_spaces_and_commas_in_teacher_labels_are_parsed(tmp_path, given, labels):
    kept = model_folder(tmp_path / "teacher", labels=tuple(f"LABEL_{i}" for i in range(len(labels))))
    teacher = LazyTeacher(_arguments(tmp_path, given), labels)
    loaded = teacher.load()
    turned = given in ("1, 0", 'good,"bad, very"')
    assert not labels or teacher.own_labels == (labels[::-1] if turned else labels)  # must match when resuming
    bias = kept.classifier.bias.numpy()
    assert loaded.model.classifier.bias.numpy().tolist() == (bias[::-1] if turned else bias).tolist()


def test_invalid_teacher_labels_name_their_option(tmp_path):
    model_folder(tmp_path / "teacher", labels=("LABEL_0", "LABEL_1"))
    with pytest.raises(UserError, match="--teacher_labels 0,0"):
        LazyTeacher(_arguments(tmp_path, "0,0"), ("0", "1")).load()


def _arguments(folder, teacher_labels):
    words = ["--task_name", "demo", "--teacher_path", str(folder / "teacher"), "--student_layers", "1", "--output_dir", "o"]
    return parse(TaskDistillConfig, [*words, "--teacher_labels", teacher_labels])


def test_plausible_label_order_is_reported_only_for_unnamed_labels():
    labels = _labels(3)
    finding = _examine(get_task("MNLI"), _logits(labels, 3, 0.8), labels)
    told = described(get_task("MNLI"), finding, named=False)
    assert told.startswith("teacher on dev: accuracy 0.8")
    assert told.endswith("assumed to be contradiction, entailment, neutral; no other order scores clearly better")
    assert "order" not in described(get_task("MNLI"), finding, named=True)


def test_good_teacher_is_accepted():
    for name, classes in (("MNLI", 3), ("SST-2", 2), ("CoLA", 2)):
        labels = _labels(classes)
        finding = _examine(get_task(name), _logits(labels, classes, 0.6), labels)
        assert not finding.weak and finding.better_order is None and validate_teacher(get_task(name), finding, False, named=False) == []


def test_teacher_predicting_the_majority_class_is_refused():
    task = get_task("MRPC")
    labels = (np.random.default_rng(2).random(400) < 0.68).astype(int)
    constant = np.tile([0.0, 1.0], (400, 1))
    finding = _examine(task, constant, labels)
    assert finding.weak and finding.better_order is None
    with pytest.raises(UserError, match="majority class(.|\n)*--allow_weak_teacher"):
        validate_teacher(task, finding, allowed=False, named=True)
    assert "majority class" in validate_teacher(task, finding, allowed=True, named=True)[0]


def test_weak_wnli_teacher_gives_a_warning_only():
    task, labels = get_task("WNLI"), np.array([0] * 40 + [1] * 31)
    finding = _examine(task, np.tile([1.0, 0.0], (71, 1)), labels)
    assert finding.weak
    assert validate_teacher(task, finding, allowed=False, named=False)[0].startswith("the teacher predicts '0' for every row of dev")


def test_reversed_wnli_dev_set_gives_a_warning_only():
    task, labels = get_task("WNLI"), np.array([0] * 40 + [1] * 31)
    finding = _examine(task, np.eye(2)[1 - labels], labels)  # the dev set says the opposite of the training set
    assert finding.better_order == task.labels[::-1]
    assert "have no names and are assumed to be 0, 1" in validate_teacher(task, finding, allowed=False, named=False)[0]
    assert "no other order" not in described(task, finding, named=False)


def test_small_dev_set_suggests_no_other_label_order():
    labels = _labels(2, rows=12)
    finding = _examine(get_task("SST-2"), _logits(labels, 2, 0.0, seed=3), labels)
    assert finding.better_order is None


@pytest.mark.parametrize(("noise", "weak"), [(0.5, False), (1000.0, True)])
def test_uncorrelated_regression_teacher_is_weak(noise, weak):
    random = np.random.default_rng(4)
    labels = random.random(300).astype("float32") * 5
    logits = (labels + noise * random.standard_normal(300))[:, None]
    assert _examine(get_task("STS-B"), logits, labels).weak == weak


@pytest.mark.parametrize(
    ("counts", "wrong", "refused"),
    [
        ((3, 5), 1, False),  # 0.875 against 0.625 + 0.342
        ((3, 5), 3, False),
        ((4, 4), 3, True),  # 0.625 against 0.5 + 0.354, which 7 of 8 would pass
        ((0, 200), 0, False),  # always right, but so is the baseline
        ((5, 995), 1, False),
        ((100, 900), 100, True),
    ],
)
def test_only_conclusive_dev_sets_refuse_a_weak_teacher(counts, wrong, refused):
    task, labels = get_task("SST-2"), np.repeat([0, 1], counts)
    told = labels.copy()
    told[:wrong] = 1 - told[:wrong]
    finding = _examine(task, np.eye(2)[told], labels)
    assert finding.weak
    if refused:
        with pytest.raises(UserError, match="--allow_weak_teacher"):
            validate_teacher(task, finding, allowed=False, named=True)
    else:
        (warning,) = validate_teacher(task, finding, allowed=False, named=True)
        assert warning.startswith(("the teacher scores", "the teacher predicts '1' for every row"))
        assert "to distinguish a teacher from guessing" in warning


@pytest.mark.parametrize(("counts", "wrong"), [((5, 995), 700), ((2, 6), 6), ((0, 200), 60)])
def test_teacher_far_below_the_majority_class_is_refused_on_any_dev_set(counts, wrong):
    task, labels = get_task("SST-2"), np.repeat([0, 1], counts)
    told = np.where(np.arange(len(labels)) < len(labels) - wrong, labels, 1 - labels)
    finding = _examine(task, np.eye(2)[told], labels)
    assert finding.worse and not finding.informative
    with pytest.raises(UserError, match=r"far below the majority class(.|\n)*--allow_weak_teacher(.|\n)*--metric macro_f1 or mcc"):
        validate_teacher(task, finding, allowed=False, named=True)
    assert "far below" in validate_teacher(task, finding, allowed=True, named=True)[0]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
@pytest.mark.parametrize("counts", [(300, 100), (995, 5)])
def test_teacher_that_always_predicts_one_class_is_named(metric, counts):
    task, labels = with_metric(get_task("SST-2"), metric), np.repeat([0, 1], counts)
    finding = _examine(task, np.tile([1.0, 0.0], (sum(counts), 1)), labels)
    assert finding.weak and finding.constant == "0" and not finding.worse
    if finding.informative:
        with pytest.raises(UserError, match="the teacher predicts '0' for every row of dev and scores"):
            validate_teacher(task, finding, allowed=False, named=True)
    else:
        assert (metric, counts) == ("accuracy", (995, 5))
        assert "the teacher predicts '0' for every row of dev" in validate_teacher(task, finding, allowed=False, named=True)[0]


def test_constant_teacher_is_not_named_if_all_labels_are_the_same():
    finding = _examine(get_task("SST-2"), np.tile([1.0, 0.0], (50, 1)), np.zeros(50, np.int64))
    assert finding.constant is None


def test_teacher_of_rare_classes_is_judged_by_the_chosen_metric():
    random = np.random.default_rng(3)
    labels = np.repeat([0, 1], [950, 50])
    told = np.where(random.random(1000) < 0.85, labels, 1 - labels)  # both classes are recognised, but accuracy is below 0.95
    for metric, accepted in (("accuracy", False), ("macro_f1", True), ("f1", True), ("mcc", True)):
        task = with_metric(get_task("SST-2"), metric)
        finding = _examine(task, np.eye(2)[told] * 3.0, labels)
        assert (finding.weak, finding.worse) == (not accepted, not accepted)
        if accepted:
            assert validate_teacher(task, finding, allowed=False, named=True) == []
        else:
            with pytest.raises(UserError, match="far below the majority class"):
                validate_teacher(task, finding, allowed=False, named=True)


@pytest.mark.parametrize(
    ("metric", "name", "counts"), [("macro_f1", "MNLI", (800, 150, 50)), ("mcc", "MNLI", (800, 150, 50)), ("f1", "MRPC", (300, 700))]
)
def test_random_teacher_is_weak_by_metrics_of_all_classes(metric, name, counts):
    task, classes = with_metric(get_task(name), metric), len(counts)
    labels = np.repeat(np.arange(classes), counts)
    weak = [_examine(task, np.eye(classes)[np.random.default_rng(i).permutation(labels)], labels).weak for i in range(20)]
    assert sum(weak) >= 18 and not _examine(task, _logits(labels, classes, 0.6), labels).weak


@pytest.mark.parametrize(("labels", "refused"), [([1, 2, 3, 4], False), ([1, 2, 3, 4, 5], True), ([2.5] * 40, False)])
def test_only_conclusive_dev_scores_refuse_a_weak_regression_teacher(labels, refused):
    task = get_task("STS-B")
    labels = np.array(labels, "float32")
    finding = _examine(task, -labels[:, None], labels)
    assert finding.weak and finding.informative == refused
    if not refused:
        assert len(validate_teacher(task, finding, allowed=False, named=True)) == 1


def test_teacher_on_another_scale_than_the_labels_gives_a_warning():
    task, labels = get_task("STS-B"), np.linspace(0, 5, 50, dtype="float32")
    assert any(
        "on different scales" in line for line in validate_teacher(task, _examine(task, labels[:, None] / 5 + 40, labels), False, True)
    )
    assert not validate_teacher(task, _examine(task, labels[:, None] * 0.9, labels), False, True)


def test_multi_label_teacher_is_judged_by_macro_f1_if_that_is_the_metric():
    kind, random = KINDS["multi_label"], np.random.default_rng(1)
    gold = (random.random((800, 3)) < np.array([0.8, 0.05, 0.05])).astype(np.uint8)
    frequent_only = np.where(np.arange(3) == 0, 3.0 * gold - 1.5, -2.0)  # good micro-averaged F1 without the rare labels
    good = 4.0 * gold - 2
    for metric, logits, weak in (("micro_f1", frequent_only, False), ("macro_f1", good, False), ("macro_f1", frequent_only, True)):
        task = replace(get_task("SST-2"), kind=kind, labels=("a", "b", "c"), metrics=("micro_f1", "macro_f1"), metric=metric)
        found = _examine(task, logits, gold)
        assert found.weak == weak and metric in found.guess


def test_other_order_of_a_multi_label_teacher_is_named_with_its_micro_f1():
    task = replace(get_task("SST-2"), kind=KINDS["multi_label"], labels=("a", "b", "c"), metrics=("micro_f1",), metric="micro_f1")
    gold = (np.random.default_rng(1).random((300, 3)) < np.array([0.7, 0.4, 0.1])).astype(np.uint8)
    (warning, *_) = validate_teacher(task, _examine(task, 4.0 * gold[:, [1, 2, 0]] - 2, gold), allowed=True, named=True)
    assert "but micro_f1 1.0000 if its outputs stand for b, c, a" in warning


def test_constant_teachers_of_other_kinds_are_named():
    task = replace(get_task("SST-2"), kind=KINDS["multi_label"], labels=("a", "b", "c"), metrics=("micro_f1",), metric="micro_f1")
    gold = (np.random.default_rng(1).random((60, 3)) < np.array([0.7, 0.6, 0.05])).astype(np.uint8)
    found = _examine(task, np.tile([2.0, 1.0, -3.0], (60, 1)), gold)
    assert found.weak and found.constant == "a|b"
    assert _examine(task, 4.0 * gold - 2, gold).constant is None
    scores = np.linspace(0, 5, 50, dtype="float32")
    assert _examine(get_task("STS-B"), np.full((50, 1), 2.5), scores).constant == "2.500"
    assert _examine(get_task("STS-B"), scores[:, None], scores).constant is None
