"""Any number of labels a row: a sigmoid for each, binary cross-entropy, micro-averaged F1 under a threshold that is chosen on dev."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tinybert.data import metrics
from tinybert.kinds.kind import Kind, Labels, LogitOptions, TeacherReport

if TYPE_CHECKING:
    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss

SEPARATORS = "|,"
THRESHOLDS = np.arange(1, 100) / 100
METRICS = ("micro_f1", "macro_f1", "accuracy")


class MultiLabel(Kind):
    """Labels 0 or 1 uint8 `[N, C]`, logits `[N, C]`.

    The label of a row is a text of names between bars or, where there is none, commas (`joy|love`, `joy,love`), or a list in JSON; an
    empty one means no label. `decision` holds the `threshold` of a probability from which a label is predicted.
    """

    name = "multi_label"
    article = "a multi-label classification"
    problem_type = "multi_label_classification"
    label_type = np.uint8
    many_labels = True

    def outputs(self, labels: Labels) -> int:
        """The number of labels."""
        return len(labels)

    def label_width(self, labels: Labels) -> int:
        """One number a label."""
        return len(labels)

    def names_in(self, text: str) -> list[str]:
        """The names in the text of a label."""
        separator = next((mark for mark in SEPARATORS if mark in text), None)
        names = text.split(separator) if separator else [text]
        return [name.strip() for name in names] if text.strip() else []

    def reader(self, labels: Labels) -> Callable[[str], np.ndarray | None]:
        """A row of 0 and 1; None where a name is not among the labels."""
        index_of = {label: i for i, label in enumerate(labels)}

        def read(text: str) -> np.ndarray | None:
            found = [index_of.get(name) for name in self.names_in(text)]
            if None in found:
                return None
            row = np.zeros(len(labels), np.uint8)
            row[found] = 1
            return row

        return read

    def expected(self, labels: Labels) -> str:
        """The names that may stand together."""
        some = ", ".join(labels[:30]) + (f", ... ({len(labels)} labels)" if len(labels) > 30 else "")
        return f"any of {some}, several of them with a bar or comma between"

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """The loss is a mean over labels, as the gold labels' is."""
        return {**super().inactive_options(values), "soft_ce_reduction": "the binary cross-entropy is the mean over rows and labels"}

    def gold_loss(self) -> Loss:
        """Binary cross-entropy with the gold labels."""
        from tinybert.objectives.binary import BinaryGoldLoss

        return BinaryGoldLoss()

    def teacher_loss(self, options: LogitOptions) -> Loss:
        """Binary cross-entropy with the teacher's probabilities."""
        from tinybert.objectives.binary import BinarySoftLoss

        return BinarySoftLoss(options.temperature, options.scale)

    # === Scores ===

    def metrics(self, labels: Labels) -> tuple[str, ...]:
        """F1 over all decisions, its mean over labels, and rows without any mistake."""
        return METRICS

    def own_metrics(self, labels: Labels) -> tuple[str, ...]:
        """Micro-averaged F1 first."""
        return METRICS

    def decide(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The threshold with the best micro-averaged F1 on these rows; of equal ones the nearest to one half."""
        shares = metrics.sigmoid(metrics.checked(task.name, logits, labels, task.num_outputs))
        scores = [metrics.f1_of_counts(shares >= threshold, labels) for threshold in THRESHOLDS]
        best = max(scores)
        return {"threshold": float(min((t for t, f1 in zip(THRESHOLDS, scores, strict=True) if f1 == best), key=lambda t: abs(t - 0.5)))}

    def default_decision(self) -> dict[str, float]:
        """One half."""
        return {"threshold": 0.5}

    def _predicted(self, logits: np.ndarray, decision: Mapping[str, float] | None) -> np.ndarray:
        return metrics.sigmoid(logits) >= (decision or self.default_decision())["threshold"]

    def score(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Of the labels whose probability reaches the threshold."""
        checked = metrics.checked(task.name, logits, labels, task.num_outputs)
        return metrics.of_label_sets(task.metrics, self._predicted(checked, decision), labels)

    def guessing(self, task: Task, labels: np.ndarray) -> dict[str, float]:
        """The same labels for every row: the most frequent ones, as many as score best."""
        return metrics.of_label_sets(task.metrics, _constant(labels), labels)

    def examine_teacher(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> TeacherReport:
        """Weak: micro-averaged F1, under its best threshold, at or below that of the same labels for every row plus two standard errors.

        Orders: the assignment of outputs to labels with the best sum of F1 (Hungarian algorithm).
        """
        from scipy.optimize import linear_sum_assignment

        decision = self.decide(task, logits, labels)
        told = self._predicted(logits, decision)
        reached, guessed = metrics.f1_of_counts(told, labels), metrics.f1_of_counts(_constant(labels), labels)
        margin = 2 * math.sqrt(guessed * (1 - guessed) / len(labels))
        shares = metrics.sigmoid(logits)
        as_many = shares >= np.sort(shares, axis=None)[-max(1, int(labels.sum()))]  # no order of the outputs decides this threshold
        hits = as_many.T.astype(np.float64) @ labels.astype(np.float64)
        alike = 2 * hits / np.maximum(as_many.sum(0)[:, None] + labels.sum(0, dtype=np.float64), 1)  # F1 of each output as each label
        outputs, means = linear_sum_assignment(-alike)
        other = np.zeros_like(as_many)
        other[:, means] = as_many[:, outputs]
        best = metrics.f1_of_counts(other, labels)
        better = best > reached + margin and best > guessed + margin
        return TeacherReport(
            self.score(task, logits, labels, decision),
            f"the same labels for every row (micro_f1 {guessed:.4f})",
            margin,
            weak=reached <= guessed + margin,
            tells=guessed + margin < 1,
            ordered=True,
            better_order=tuple(task.labels[i] for i in means) if better else None,
            better_accuracy=best,
        )

    # === Predictions ===

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """A sigmoid each."""
        return metrics.sigmoid(logits)

    def chosen(self, probabilities: np.ndarray, decision: Mapping[str, float]) -> list[tuple[list[int], float]]:
        """Those that reach the threshold, with the smallest of their probabilities; that of none, where none does."""
        found = []
        for row in probabilities:
            labels = np.flatnonzero(row >= decision["threshold"]).tolist()
            found.append((labels, float(row[labels].min()) if labels else float(1 - row.max())))
        return found

    def answers(self, task: Task, logits: np.ndarray, decision: Mapping[str, float] | None = None) -> list[str]:
        """The names with a bar between; empty where no label reaches the threshold."""
        return ["|".join(task.labels[i] for i in np.flatnonzero(row)) for row in self._predicted(logits, decision)]

    def keeps_variants(self, task: Task, outputs: np.ndarray, keep: float) -> np.ndarray:
        """Those that leave so much of the probability of every label of the row, and of its being no other label's."""
        shares = metrics.sigmoid(outputs)
        own = shares[0] >= 0.5
        agreement = np.where(own, shares, 1 - shares)
        return (agreement >= keep * agreement[0]).all(1)


def _constant(labels: np.ndarray) -> np.ndarray:
    """The most frequent labels for every row, as many of them as have the best micro-averaged F1."""
    order = np.argsort(-labels.sum(0), kind="stable")
    guesses = [np.zeros(labels.shape, bool) for _ in order]
    for count, guess in enumerate(guesses, 1):
        guess[:, order[:count]] = True
    return max(guesses, key=lambda guess: metrics.f1_of_counts(guess, labels))
