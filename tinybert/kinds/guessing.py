"""What predictions that know nothing of the labels reach, and the standard errors of a teacher's scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def guessed_f1(right: np.ndarray, predicted: np.ndarray, gold: np.ndarray, total: int, exclusive: bool) -> tuple[float, float]:
    """Mean F1 of guessing over labels, and two standard errors of the teacher's.

    right, predicted, gold: rows `[C]` of the teacher's predictions, of `total` rows. Guesses are independent of the labels, as frequent as
    the teacher's predictions; or constant, if that scores better: one label if they are `exclusive`, else all of them.
    F1 = 2 TP / (predicted + gold) is a share of (predicted + gold) / 2 rows; one more right and one more wrong row of each label keep its
    error above 0.
    """
    rows = (predicted + gold) / 2
    there = rows > 0
    guessed = (predicted * gold / total)[there] / rows[there]
    constant = 2 * gold / (total + gold)
    shares = ((right + 1) / (rows + 2))[there]
    errors = shares * (1 - shares) / (rows + 2)[there]
    best = max(guessed.sum(), constant.max() if exclusive else constant.sum())
    return float(best) / len(rows), 2 * math.sqrt(errors.sum()) / len(rows)


def guessed_in(metric: str, confusion: np.ndarray) -> tuple[float, float] | None:
    """The same for a metric of classes, from the confusion matrix (predicted, gold); None for metrics that follow the majority class."""
    if metric == "mcc":
        return 0.0, 2 / math.sqrt(confusion.sum())  # the correlation of independent predictions, and its error
    if metric not in ("macro_f1", "f1"):
        return None
    classes = slice(1, 2) if metric == "f1" else slice(None)
    counts = (confusion.diagonal()[classes], confusion.sum(1)[classes], confusion.sum(0)[classes])
    return guessed_f1(*counts, int(confusion.sum()), exclusive=True)
