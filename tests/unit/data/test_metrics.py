"""Metrics match hand-computed values, and are never NaN for a model that has learned nothing."""

import warnings

import numpy as np
import pytest

from tinybert.data.tasks import Split, Task, get_task
from tinybert.errors import NumericalError


def score(task, logits, labels):
    return task.kind.score(task, logits, labels)


# true positives 2, false positives 1, false negatives 1, true negatives 2
LABELS = np.array([1, 1, 1, 0, 0, 0])
LOGITS = np.array([[0, 1.0], [0, 2], [1, 0], [0, 1], [3, 0], [1, 0]])


def test_accuracy_f1_and_their_mean_match_hand_computed_values():
    result = score(get_task("mrpc"), LOGITS, LABELS)
    assert result == pytest.approx({"accuracy": 4 / 6, "f1": 2 / 3, "accuracy_and_f1": 2 / 3})
    skewed = score(get_task("qqp"), LOGITS, np.array([1, 1, 0, 1, 1, 0]))
    assert skewed == pytest.approx({"accuracy": 5 / 6, "f1": 6 / 7, "accuracy_and_f1": (5 / 6 + 6 / 7) / 2})


def test_matthews_correlation_matches_hand_computed_values():
    assert score(get_task("cola"), LOGITS, LABELS)["mcc"] == pytest.approx((2 * 2 - 1 * 1) / np.sqrt(3 * 3 * 3 * 3))
    assert score(get_task("cola"), -LOGITS, LABELS)["mcc"] == pytest.approx(-1 / 3)


def test_correlations_match_hand_computed_values():
    predictions, labels = np.array([1.0, 2, 3, 10]), np.array([1.0, 3, 2, 4], np.float32)
    pearson = np.corrcoef(predictions, labels)[0, 1]
    spearman = 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    for logits in (predictions, predictions[:, None]):
        result = score(get_task("sts-b"), logits, labels)
        assert result == pytest.approx({"pearson": pearson, "spearman": spearman, "pearson_and_spearman": (pearson + spearman) / 2})


@pytest.mark.parametrize("name", ["sts-b", "cola"])
def test_constant_predictions_score_zero_without_a_warning(name):
    task = get_task(name)
    labels = np.array([1.0, 2, 3]) if not task.labels else np.array([0, 1, 1])
    logits = np.full((3, 1), 2.5) if not task.labels else np.tile([0.0, 1], (3, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = score(task, logits, labels)
    assert result[task.metric] == 0.0


def test_mcc_of_a_single_class_is_zero_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for predicted in ([0, 1, 1], [1, 1, 1]):
            assert score(get_task("cola"), np.eye(2)[predicted], np.array([1, 1, 1]))["mcc"] == 0.0


def test_f1_of_a_class_never_predicted_is_zero_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert score(get_task("mrpc"), np.tile([1.0, 0], (3, 1)), np.array([0, 0, 0]))["f1"] == 0.0


def test_macro_f1_is_computed_for_more_than_two_classes():
    task = Task("t", "t", ("a", "b", "c"), {"dev": Split("dev.tsv", 0)}, ("accuracy", "macro_f1", "mcc"), "macro_f1")
    result = score(task, np.eye(3)[[0, 0, 1, 2]], np.array([0, 1, 1, 1]))
    # a: precision 1/2, recall 1; b: precision 1, recall 1/3; c: all wrong
    assert result["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert result["accuracy"] == 0.5


def test_class_without_rows_and_predictions_counts_as_0_in_macro_f1():
    task = Task("t", "t", ("a", "b"), {"dev": Split("dev.tsv", 0)}, ("macro_f1",), "macro_f1")
    assert score(task, np.tile([1.0, 0.0], (3, 1)), np.array([0, 0, 0]))["macro_f1"] == 0.5  # every prediction is right


def test_non_finite_logits_raise():
    with pytest.raises(NumericalError, match="1 of 2"):
        score(get_task("sst-2"), np.array([[0, np.nan], [0, 1]]), np.array([0, 1]))


def test_logits_of_another_task_are_refused():
    with pytest.raises(ValueError, match="2 wide, MNLI needs 3"):
        score(get_task("mnli"), LOGITS, LABELS)
    with pytest.raises(ValueError, match="5 labels"):
        score(get_task("sst-2"), LOGITS, LABELS[:5])
