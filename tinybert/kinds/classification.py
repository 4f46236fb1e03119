"""One class per row: cross-entropy, accuracy, majority-class baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybert.data import metrics
from tinybert.kinds.guessing import guessed_in
from tinybert.kinds.kind import SMALLEST, Kind, Labels, LogitOptions, TeacherReport

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.store import Rows
    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss

_BINARY_ONLY = ("f1", "accuracy_and_f1")


class Classification(Kind):
    """Labels int64 `[N]`, logits `[N, C]`."""

    name = "classification"
    title = "classification"
    problem_type = "single_label_classification"
    weighs_labels = True

    def gold_loss(self) -> Loss:
        """Cross-entropy with the gold class."""
        from tinybert.objectives.gold import GoldLabelLoss

        return GoldLabelLoss()

    def label_counts(self, rows: Rows, labels: Labels) -> tuple[np.ndarray, int]:
        """Rows of each class."""
        import numpy as np

        counts = np.bincount(rows.labels, minlength=len(labels))
        return counts, int(counts.sum())

    def teacher_loss(self, options: LogitOptions) -> Loss:
        """Cross-entropy with the teacher's distribution."""
        from tinybert.objectives.prediction import SoftCrossEntropyLoss

        return SoftCrossEntropyLoss(options.temperature, options.reduction, options.scale)

    # === Scores ===

    def metrics(self, labels: Labels) -> tuple[str, ...]:
        """F1 of class 1 needs two classes."""
        return tuple(name for name in metrics.CLASSES if len(labels) <= 2 or name not in _BINARY_ONLY)

    def own_metrics(self, labels: Labels) -> tuple[str, ...]:
        """Accuracy first."""
        return ("accuracy", "macro_f1", *(("f1",) if len(labels) == 2 else ()))

    def score(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Scores of the class with the highest logit."""
        checked = metrics.checked(task.name, logits, labels, task.num_outputs)
        return metrics.of_classes(task.metrics, checked.argmax(axis=1), labels, task.num_outputs)

    def score_teacher(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> TeacherReport:
        """Score the teacher in the task's label order `[N, C]` and under every other order of its outputs.

        Weak: accuracy at or below the majority class plus two standard errors. The rows are informative if a teacher with one wrong row is
        not weak: 1 - 1 / N is above the majority class plus two standard errors. Eight rows with five of one label are not
        (0.625 + 0.342), nor are rows with a single label, nor 1,000 rows of which 995 have the same label. If the metric is macro_f1, f1
        or mcc, it is compared with its value for guessing instead.
        Orders: the assignment of outputs to labels with the most matches (Hungarian algorithm on the confusion matrix), which covers all
        C! orders.
        """
        import numpy as np
        from scipy.optimize import linear_sum_assignment

        predicted = logits.argmax(1)
        accuracy = float((predicted == labels).mean())
        majority = float(np.bincount(labels).max() / len(labels))
        margin = 2 * math.sqrt(majority * (1 - majority) / len(labels))
        confusion = np.zeros((len(task.labels),) * 2, np.int64)
        np.add.at(confusion, (predicted, labels), 1)
        outputs, means = linear_sum_assignment(-confusion)
        best = float(confusion[outputs, means].sum() / len(labels))
        better = best > accuracy + margin and best > majority + margin
        scores = self.score(task, logits, labels)
        reached, guessed, highest = accuracy, majority, 1 - 1 / len(labels)
        guess = f"the majority class ({majority:.4f})"
        spread = 2 * math.sqrt(max(accuracy * (1 - accuracy), majority * (1 - majority)) / len(labels))  # of either
        if (found := guessed_in(task.metric, confusion)) is not None:
            reached, highest, (guessed, margin) = scores[task.metric], 1.0 if np.ptp(labels) else 0.0, found
            guess, spread = f"guessing ({task.metric} {guessed:.4f})", margin
        same = not np.ptp(predicted) and np.ptp(labels)
        return TeacherReport(
            scores,
            guess,
            margin,
            weak=reached <= guessed + margin,
            informative=highest > guessed + margin,
            worse=reached < guessed - spread,
            constant=task.labels[predicted[0]] if same else None,
            ordered=True,
            better_order=tuple(task.labels[i] for i in means) if better else None,
            better_accuracy=best,
        )

    # === Predictions ===

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Softmax."""
        return metrics.softmax(logits)

    def logits_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Logarithms."""
        import numpy as np

        return np.log(np.maximum(probabilities, SMALLEST))

    def chosen(self, probabilities: np.ndarray, decision: Mapping[str, float]) -> list[tuple[list[int], float]]:
        """The most probable class."""
        return [([int(at)], float(row[at])) for at, row in zip(probabilities.argmax(1), probabilities, strict=True)]

    def keeps_variants(self, task: Task, outputs: np.ndarray, keep: float) -> np.ndarray:
        """Those that keep this share of the row's own probability for the row's class."""
        own = metrics.softmax(outputs)[:, outputs[0].argmax()]
        return own >= keep * own[0]
