"""Any number of labels per row: sigmoids, binary cross-entropy, micro-averaged F1 with a threshold chosen on the dev set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tinybert.data import metrics
from tinybert.kinds.guessing import guessed_f1
from tinybert.kinds.kind import SMALLEST, Kind, Labels, LogitOptions, TeacherReport, some_of

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.store import Rows
    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss

SEPARATORS = "|,"


class MultiLabel(Kind):
    """Labels 0 or 1 uint8 `[N, C]`, logits `[N, C]`.

    The label of a row is a list of names separated by bars or, without bars, commas (`joy|love`, `joy,love`), or a list in JSON; an
    empty one means no label. `decision` has the probability `threshold` above which a label is predicted.
    """

    name = "multi_label"
    title = "multi-label classification"
    problem_type = "multi_label_classification"
    label_type = "uint8"
    metric_names = ("micro_f1", "macro_f1", "accuracy")
    decisions = ("threshold",)
    many_labels = True
    weighs_labels = True

    def label_width(self, labels: Labels) -> int:
        """One number per label."""
        return len(labels)

    def names_in(self, text: str) -> list[str]:
        """The names in the text of a label."""
        separator = next((mark for mark in SEPARATORS if mark in text), None)
        names = text.split(separator) if separator else [text]
        return [name.strip() for name in names] if text.strip() else []

    def reader(self, labels: Labels) -> Callable[[str], np.ndarray | None]:
        """A vector of 0 and 1; None if a name is not among the labels."""
        from tinybert.data import label_sets

        index_of = {label: i for i, label in enumerate(labels)}

        def read(text: str) -> np.ndarray | None:
            found = [index_of.get(name) for name in self.names_in(text)]
            if None in found:
                return None
            return label_sets.row_of(found, len(labels))

        return read

    def expected(self, labels: Labels) -> str:
        """The names, which can be combined."""
        return f"any of {some_of(labels)}, separated by bars or commas"

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """The loss is a mean over labels, as for gold labels."""
        return {**super().inactive_options(values), "soft_ce_reduction": "the binary cross-entropy is the mean over rows and labels"}

    def gold_loss(self) -> Loss:
        """Binary cross-entropy with the gold labels."""
        from tinybert.objectives.binary import BinaryGoldLoss

        return BinaryGoldLoss()

    def label_counts(self, rows: Rows, labels: Labels) -> tuple[np.ndarray, int]:
        """Rows that have each label, of all rows."""
        import numpy as np

        return np.asarray(rows.labels, np.int64).sum(0), len(rows.labels)

    def label_weights(self, counts: np.ndarray, decisions: int, given: np.ndarray | None) -> np.ndarray:
        """Factors of rows with and without each label `[C, 2]`; the mean over all rows is 1 for each label.

        given: how much more a row with the label weighs than one without it; None: equal sums of both, without / with.
        """
        import numpy as np

        without = decisions - counts
        if given is None:
            given = np.divide(without, counts, out=np.ones(len(counts)), where=(counts > 0) & (without > 0))
        absent = decisions / (given * counts + without)
        return np.stack([given * absent, absent], axis=1)

    def teacher_loss(self, options: LogitOptions) -> Loss:
        """Binary cross-entropy with the teacher's probabilities."""
        from tinybert.objectives.binary import BinarySoftLoss

        return BinarySoftLoss(options.temperature, scale=options.scale)

    # === Scores ===

    def decide(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The threshold with the best micro-averaged F1 on these rows; of equal ones the closest to 0.5."""
        from tinybert.data import label_sets

        shares = label_sets.sigmoid(metrics.checked(task.name, logits, labels, task.num_outputs))
        return {"threshold": label_sets.best_threshold(shares, labels)}

    def default_decision(self) -> dict[str, float]:
        """0.5."""
        return {"threshold": 0.5}

    def _predicted(self, logits: np.ndarray, decision: Mapping[str, float] | None) -> np.ndarray:
        return self.probabilities(logits) >= (decision or self.default_decision())["threshold"]

    def score(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Scores of the labels whose probability reaches the threshold."""
        from tinybert.data import label_sets

        checked = metrics.checked(task.name, logits, labels, task.num_outputs)
        return label_sets.of_label_sets(task.metrics, self._predicted(checked, decision), labels)

    def score_teacher(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> TeacherReport:
        """Weak: F1 with the best threshold at or below that of constant labels plus two standard errors: micro-averaged, or macro-averaged
        if that is the task's metric.

        Orders: the assignment of outputs to labels with the best sum of F1 (Hungarian algorithm).
        """
        from tinybert.data import label_sets

        decision = self.decide(task, logits, labels)
        reached = label_sets.f1_of_counts(self._predicted(logits, decision), labels)
        guessed = label_sets.f1_of_counts(label_sets.best_constant(labels), labels)
        margin = 2 * math.sqrt(guessed * (1 - guessed) / len(labels))
        means, best = label_sets.best_order(self.probabilities(logits), labels)
        better = best > reached + margin and best > guessed + margin
        scores, judged = self.score(task, logits, labels, decision), "micro_f1"
        if task.metric == "macro_f1":
            predicted, gold = self._predicted(logits, decision), labels > 0
            counts = ((predicted & gold).sum(0), predicted.sum(0), gold.sum(0))
            guessed, margin = guessed_f1(*counts, len(labels), exclusive=False)
            reached, judged = scores["macro_f1"], "macro_f1"
        return TeacherReport(
            scores,
            f"the same labels for every row ({judged} {guessed:.4f})",
            margin,
            weak=reached <= guessed + margin,
            informative=guessed + margin < 1,
            worse=reached < guessed - margin,
            constant=self._constant(task, logits, labels, decision),
            ordered=True,
            better_order=tuple(task.labels[i] for i in means) if better else None,
            better_accuracy=best,
        )

    def _constant(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float]) -> str | None:
        """The predicted labels, if they are the same for all rows although the gold ones differ."""
        same = not self._predicted(logits, decision).std(0).any() and labels.std(0).any()
        return (self.answers(task, logits[:1], decision)[0] or "no label") if same else None

    # === Predictions ===

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """A sigmoid each."""
        from tinybert.data import label_sets

        return label_sets.sigmoid(logits)

    def logits_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Log odds."""
        import numpy as np

        clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
        return np.log(clipped) - np.log1p(-clipped)

    def chosen(self, probabilities: np.ndarray, decision: Mapping[str, float]) -> list[tuple[list[int], float]]:
        """Labels that reach the threshold and the smallest of their probabilities; if none does, the probability of no label."""
        found = []
        for row in probabilities:
            labels = (row >= decision["threshold"]).nonzero()[0].tolist()
            found.append((labels, float(row[labels].min()) if labels else float(1 - row.max())))
        return found

    def answers(self, task: Task, logits: np.ndarray, decision: Mapping[str, float] | None = None) -> list[str]:
        """The names joined by bars; empty if no label reaches the threshold."""
        return ["|".join(task.labels[i] for i in row.nonzero()[0]) for row in self._predicted(logits, decision)]

    def keeps_variants(self, task: Task, outputs: np.ndarray, keep: float) -> np.ndarray:
        """Variants that keep this share of the probability of each of the row's labels and of the absence of each other label."""
        shares = self.probabilities(outputs)
        agreement = abs(shares - (shares[0] < 0.5))  # the probability that a label of the row is present, or another one absent
        return (agreement >= keep * agreement[0]).all(1)
