"""How good predictions are: the GLUE metrics, and those for tasks with more classes."""

from __future__ import annotations

import numpy as np

from tinybert.data.tasks import Task
from tinybert.errors import NumericalError

_MEANS = {"accuracy_and_f1": ("accuracy", "f1"), "pearson_and_spearman": ("pearson", "spearman")}


def score(task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The task's metrics of logits `[N, C]` (or `[N]`, `[N, 1]` for a regression) against labels `[N]`, as fractions of
    1.

    Known names: accuracy, f1 (of class 1 with two classes, else the mean over the classes), macro_f1, mcc, pearson,
    spearman, and the means accuracy_and_f1, pearson_and_spearman. Where a coefficient is undefined because all
    predictions or all labels are equal, it is 0.0, not NaN: a model that always says the same has learned nothing.

    Raises:
        NumericalError: a logit is NaN or infinite.
        ValueError: shapes do not fit, or an unknown metric name.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if len(logits) != len(labels) or not len(labels):
        raise ValueError(f"{len(logits)} rows of logits, {len(labels)} labels")
    width = 1 if logits.ndim == 1 else logits.shape[1]
    if width != task.num_outputs:
        raise ValueError(f"logits are {width} wide, {task.name} needs {task.num_outputs}")
    broken = int((~np.isfinite(logits.reshape(len(labels), -1))).any(axis=1).sum())
    if broken:
        raise NumericalError(f"{broken} of {len(labels)} predictions for {task.name} are NaN or infinite")
    predictions = logits.reshape(-1).astype(np.float64) if task.regression else logits.argmax(axis=1)
    return _all(task, predictions, labels)


def majority_baseline(task: Task, labels: np.ndarray) -> dict[str, float]:
    """The metrics of always predicting the most frequent class (for a regression: the mean), the score to beat."""
    labels = np.asarray(labels)
    constant = labels.mean() if task.regression else np.bincount(labels, minlength=task.num_outputs).argmax()
    return _all(task, np.full(len(labels), constant), labels)


def _all(task: Task, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {name: _one(name, task, predictions, labels) for name in task.metrics}


def _one(name: str, task: Task, predictions: np.ndarray, labels: np.ndarray) -> float:
    # imported here: together they take a second, and a run that does not score should not wait for them
    from scipy import stats
    from sklearn import metrics

    if name in _MEANS:
        return float(np.mean([_one(part, task, predictions, labels) for part in _MEANS[name]]))
    if name == "accuracy":
        return float((predictions == labels).mean())
    if name == "f1" and task.num_outputs == 2:
        return float(metrics.f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0))
    if name in ("f1", "macro_f1"):
        classes = np.arange(task.num_outputs)
        return float(metrics.f1_score(labels, predictions, labels=classes, average="macro", zero_division=0))
    if name == "mcc":
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
            return 0.0
        return float(metrics.matthews_corrcoef(labels, predictions))
    if name in ("pearson", "spearman"):
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
            return 0.0
        correlation = stats.pearsonr if name == "pearson" else stats.spearmanr
        value = float(correlation(predictions, labels)[0])
        return value if np.isfinite(value) else 0.0
    raise ValueError(f"no metric {name!r}")
