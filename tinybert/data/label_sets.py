"""Multi-label rows as arrays of 0 and 1: scores, best threshold, best constant prediction, best order of outputs."""

from __future__ import annotations

import numpy as np

THRESHOLDS = np.arange(1, 100) / 100


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Elementwise probabilities of logits."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64)))


def f1_of_counts(predicted: np.ndarray, gold: np.ndarray) -> float:
    """F1 over all decisions, `[N, C]` of 0 and 1; 0.0 if nothing is predicted and nothing is gold."""
    hits = float((predicted & (gold > 0)).sum())
    total = float(predicted.sum()) + float((gold > 0).sum())
    return 2 * hits / total if total else 0.0


def of_label_sets(names: tuple[str, ...], predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """The given metrics of predicted label sets against gold ones, both `[N, C]` of 0 and 1.

    micro_f1: F1 over all decisions. macro_f1: the mean of the labels' F1; a label that is neither gold nor predicted counts as 0
    (scikit-learn's `zero_division=0`), so that its absence lowers even a perfect score. accuracy: rows without any error.
    """
    predicted, gold = np.asarray(predicted, bool), np.asarray(gold)
    scores = {
        "micro_f1": lambda: f1_of_counts(predicted, gold),
        "macro_f1": lambda: float(np.mean([f1_of_counts(predicted[:, [i]], gold[:, [i]]) for i in range(gold.shape[1])])),
        "accuracy": lambda: float((predicted == (gold > 0)).all(1).mean()),
    }
    return {name: scores[name]() for name in names}


def best_threshold(shares: np.ndarray, gold: np.ndarray) -> float:
    """The threshold of probabilities `[N, C]` with the best F1 over all decisions; of equal ones the closest to 0.5."""
    scores = [f1_of_counts(shares >= threshold, gold) for threshold in THRESHOLDS]
    best = max(scores)
    return float(min((t for t, f1 in zip(THRESHOLDS, scores, strict=True) if f1 == best), key=lambda t: abs(t - 0.5)))


def best_constant(gold: np.ndarray) -> np.ndarray:
    """The same labels for every row: the most frequent ones, in the number with the best micro-averaged F1, `[N, C]`."""
    order = np.argsort(-gold.sum(0, dtype=np.int64), kind="stable")
    guesses = [np.zeros(gold.shape, bool) for _ in order]
    for count, guess in enumerate(guesses, 1):
        guess[:, order[:count]] = True
    return max(guesses, key=lambda guess: f1_of_counts(guess, gold))


def best_order(shares: np.ndarray, gold: np.ndarray) -> tuple[list[int], float]:
    """The label that each output fits best (Hungarian algorithm on the F1 of every output for every label), and F1 under that order.

    The threshold is chosen so that as many labels are predicted as there are gold ones, whatever the order of the outputs.
    """
    from scipy.optimize import linear_sum_assignment

    predicted = shares >= np.sort(shares, axis=None)[-max(1, int(gold.sum()))]
    hits = predicted.T.astype(np.float64) @ gold.astype(np.float64)
    scores = 2 * hits / np.maximum(predicted.sum(0)[:, None] + gold.sum(0, dtype=np.float64), 1)
    outputs, means = linear_sum_assignment(-scores)
    other = np.zeros_like(predicted)
    other[:, means] = predicted[:, outputs]
    return means.tolist(), f1_of_counts(other, gold)


def row_of(indices: list[int], width: int) -> np.ndarray:
    """A label set as a uint8 vector `[C]`."""
    row = np.zeros(width, np.uint8)
    row[indices] = 1
    return row
