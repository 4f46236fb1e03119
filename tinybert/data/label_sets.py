"""Rows with any number of labels, as arrays of 0 and 1: scores, the best threshold, the best guess, the best order of outputs."""

from __future__ import annotations

import numpy as np

THRESHOLDS = np.arange(1, 100) / 100


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, each on its own."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64)))


def f1_of_counts(predicted: np.ndarray, gold: np.ndarray) -> float:
    """F1 of all decisions together, `[N, C]` of 0 and 1; 0.0 where nothing is predicted and nothing is gold."""
    hits = float((predicted & (gold > 0)).sum())
    total = float(predicted.sum()) + float((gold > 0).sum())
    return 2 * hits / total if total else 0.0


def of_label_sets(names: tuple[str, ...], predicted: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """These metrics of predicted sets of labels against gold ones, both `[N, C]` of 0 and 1.

    micro_f1: F1 of all decisions together. macro_f1: the mean of each label's F1; a label that is neither gold nor predicted counts as 0
    (scikit-learn's `zero_division=0`), so that rows without it lower the score even of a perfect answer. accuracy: rows without a mistake.
    """
    predicted, gold = np.asarray(predicted, bool), np.asarray(gold)

    def one(name: str) -> float:
        if name == "micro_f1":
            return f1_of_counts(predicted, gold)
        if name == "macro_f1":
            return float(np.mean([f1_of_counts(predicted[:, [i]], gold[:, [i]]) for i in range(gold.shape[1])]))
        if name == "accuracy":
            return float((predicted == (gold > 0)).all(1).mean())
        raise ValueError(f"no metric {name!r} of sets of labels")

    return {name: one(name) for name in names}


def best_threshold(shares: np.ndarray, gold: np.ndarray) -> float:
    """The threshold of probabilities `[N, C]` with the best F1 of all decisions; of equal ones the nearest to one half."""
    scores = [f1_of_counts(shares >= threshold, gold) for threshold in THRESHOLDS]
    best = max(scores)
    return float(min((t for t, f1 in zip(THRESHOLDS, scores, strict=True) if f1 == best), key=lambda t: abs(t - 0.5)))


def best_constant(gold: np.ndarray) -> np.ndarray:
    """The most frequent labels for every row, as many of them as have the best F1 of all decisions, `[N, C]`."""
    order = np.argsort(-gold.sum(0, dtype=np.int64), kind="stable")
    guesses = [np.zeros(gold.shape, bool) for _ in order]
    for count, guess in enumerate(guesses, 1):
        guess[:, order[:count]] = True
    return max(guesses, key=lambda guess: f1_of_counts(guess, gold))


def best_order(shares: np.ndarray, gold: np.ndarray) -> tuple[list[int], float]:
    """Which label each output stands for best (Hungarian algorithm on the F1 of every output as every label), and F1 under that order.

    The threshold is the one that predicts as many labels as there are, which no order of the outputs changes.
    """
    from scipy.optimize import linear_sum_assignment

    told = shares >= np.sort(shares, axis=None)[-max(1, int(gold.sum()))]
    hits = told.T.astype(np.float64) @ gold.astype(np.float64)
    alike = 2 * hits / np.maximum(told.sum(0)[:, None] + gold.sum(0, dtype=np.float64), 1)
    outputs, means = linear_sum_assignment(-alike)
    other = np.zeros_like(told)
    other[:, means] = told[:, outputs]
    return means.tolist(), f1_of_counts(other, gold)


def row_of(indices: list[int], width: int) -> np.ndarray:
    """The row of a set of labels, uint8 `[C]`."""
    row = np.zeros(width, np.uint8)
    row[indices] = 1
    return row
