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

    return _all(names, lambda name: _of_classes(name, predictions, np.asarray(labels), outputs))


def of_scores(names: tuple[str, ...], predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The same for predicted scores `[N]`: pearson, spearman and pearson_and_spearman."""
    import numpy as np

    return _all(names, lambda name: _of_scores(name, predictions, np.asarray(labels)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax probabilities of logits `[..., C]`."""
    import numpy as np

    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def _all(names: tuple[str, ...], one: Callable[[str], float]) -> dict[str, float]:
    import numpy as np

    return {name: float(np.mean([one(part) for part in _MEANS[name]])) if name in _MEANS else one(name) for name in names}


def _of_classes(name: str, predictions: np.ndarray, labels: np.ndarray, outputs: int) -> float:
    import numpy as np

    # imported here: it takes half a second, which runs without evaluation should not pay
    from sklearn import metrics

    if name == "accuracy":
        return float((predictions == labels).mean())
    if name == "f1" and outputs == 2:
        return float(metrics.f1_score(labels, predictions, pos_label=1, average="binary", zero_division=0))
    if name in ("f1", "macro_f1"):
        return float(metrics.f1_score(labels, predictions, labels=np.arange(outputs), average="macro", zero_division=0))
    if name == "mcc":
        if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
            return 0.0
        return float(metrics.matthews_corrcoef(labels, predictions))
    raise ValueError(f"no metric {name!r} of classes")


def _of_scores(name: str, predictions: np.ndarray, labels: np.ndarray) -> float:
    import numpy as np
    from scipy import stats

    if name not in ("pearson", "spearman"):
        raise ValueError(f"no metric {name!r} of scores")
    if np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return 0.0
    value = float((stats.pearsonr if name == "pearson" else stats.spearmanr)(predictions, labels)[0])
    return value if np.isfinite(value) else 0.0
