"""Metrics of predictions: those of GLUE, and those for more classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tinybert.errors import NumericalError, UserError

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("accuracy", "macro_f1", "mcc", "f1", "accuracy_and_f1")
SCORES = ("pearson_and_spearman", "pearson", "spearman")
_MEANS = {"accuracy_and_f1": ("accuracy", "f1"), "pearson_and_spearman": ("pearson", "spearman")}


def checked(task_name: str, logits: np.ndarray, labels: np.ndarray, outputs: int) -> np.ndarray:
    """The logits as an array, `[N, outputs]` (or `[N]` for one output).

    Raises:
        NumericalError: a logit is NaN or infinite.
        ValueError: mismatched shapes.
    """
    import numpy as np

    logits = np.asarray(logits)
    if len(logits) != len(labels) or not len(labels):
        raise ValueError(f"{len(logits)} rows of logits, {len(labels)} labels")
    width = 1 if logits.ndim == 1 else logits.shape[1]
    if width != outputs:
        raise ValueError(f"logits are {width} wide, {task_name} needs {outputs}")
    check_finite(task_name, logits)
    return logits


def check_finite(task_name: str, logits: np.ndarray) -> None:
    """Reject logits `[N, C]` with NaN or infinite values.

    Raises:
        NumericalError: there is one.
    """
    if broken := _broken_rows(logits):
        raise NumericalError(f"{broken} of {len(logits)} predictions for {task_name} are NaN or infinite")


def _broken_rows(logits: np.ndarray) -> int:
    import numpy as np

    return int((~np.isfinite(logits.reshape(len(logits), -1))).any(axis=1).sum()) if logits.size else 0


def check_outputs(logits: np.ndarray, owner: str, rows: str) -> None:
    """Reject outputs `[N, C]` of a given model with NaN or infinite values, for which the largest output is meaningless.

    Raises:
        UserError: names the model (`owner`) and the rows.
    """
    if broken := _broken_rows(logits):
        raise UserError(
            f"{owner} produces NaN or infinite outputs for {broken} of {len(logits)} rows of {rows}.\n"
            "Its weights are finite but too large: its training diverged. Use an earlier checkpoint."
        )


def of_classes(names: tuple[str, ...], predictions: np.ndarray, labels: np.ndarray, outputs: int) -> dict[str, float]:
    """The given metrics of predicted classes `[N]` against labels `[N]`, as fractions of 1.

    Known names: accuracy, f1 (of class 1 with two classes, else the mean over the classes), macro_f1, mcc and accuracy_and_f1. A
    coefficient that is undefined because all predictions or all labels are equal is 0.0 instead of NaN: a constant prediction has
    learned nothing. In macro_f1 a class without gold rows and predictions counts as 0.
    """
    import numpy as np

    # imported here: it takes half a second, which runs without evaluation should not pay
    from sklearn import metrics

    labels = np.asarray(labels)

    def macro_f1() -> float:
        return metrics.f1_score(labels, predictions, labels=np.arange(outputs), average="macro", zero_division=0)

    scores = {
        "accuracy": lambda: (predictions == labels).mean(),
        "f1": macro_f1 if outputs > 2 else lambda: metrics.f1_score(labels, predictions, pos_label=1, zero_division=0),
        "macro_f1": macro_f1,
        "mcc": lambda: metrics.matthews_corrcoef(labels, predictions) if np.ptp(predictions) and np.ptp(labels) else 0.0,
    }
    return _of(names, scores)


def of_scores(names: tuple[str, ...], predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The same for predicted scores `[N]`: pearson, spearman and pearson_and_spearman."""
    import numpy as np
    from scipy import stats

    def correlation(measure: Callable) -> float:
        value = measure(predictions, labels)[0] if np.ptp(predictions) and np.ptp(labels) else 0.0
        return value if np.isfinite(value) else 0.0

    return _of(names, {"pearson": lambda: correlation(stats.pearsonr), "spearman": lambda: correlation(stats.spearmanr)})


def _of(names: tuple[str, ...], scores: dict[str, Callable[[], float]]) -> dict[str, float]:
    parts = {name: [float(scores[part]()) for part in _MEANS.get(name, (name,))] for name in names}
    return {name: sum(values) / len(values) for name, values in parts.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax probabilities of logits `[..., C]`, float64."""
    import numpy as np
    from scipy import special

    return special.softmax(np.asarray(logits, np.float64), axis=-1)
