"""One number per row: squared error, correlations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tinybert.data import metrics
from tinybert.kinds.kind import Kind, Labels, LogitOptions, TeacherReport

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss

_LARGEST = 2.0**128 - 2.0**104  # float32 maximum
_SCALE = 3.0  # scores whose spread or mean differs by this factor are on another scale
_CLASSES_ONLY = ("T", "soft_ce_reduction", "temperature_square")


class Regression(Kind):
    """Labels float32 `[N]`, logits `[N, 1]`; a task may bound its scores."""

    name = "regression"
    title = "regression"
    problem_type = "regression"
    label_type = "float32"
    label_word = "score"
    metric_names = metrics.SCORES
    names_labels = False
    softens = False

    def outputs(self, labels: Labels) -> int:
        """One score."""
        return 1

    def reader(self, labels: Labels) -> Callable[[str], float | None]:
        """A finite float32 number."""
        return _number

    def expected(self, labels: Labels) -> str:
        """Numbers."""
        return "a finite number"

    def describe(self, labels: Labels) -> str:
        """One output."""
        return "one score (regression)"

    def head_config(self, labels: Labels) -> dict:
        """One output, marked to distinguish it from a single class."""
        return {"num_labels": 1, "problem_type": self.problem_type}

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """Options about classes, and options that do not change the published targets."""
        found = {}
        if values["regression_target"] != "softmax":
            found = dict.fromkeys(_CLASSES_ONLY, "a regression has no classes")
        if values["regression_target"] == "gold":
            found["alpha"] = "with regression_target gold both terms are the same"
        return found

    def gold_loss(self) -> Loss:
        """Squared error with respect to the gold score."""
        from tinybert.objectives.gold import GoldScoreLoss

        return GoldScoreLoss()

    def teacher_loss(self, options: LogitOptions) -> Loss | None:
        """Squared error with respect to the teacher's score; `gold` (Huawei): the teacher is not used; `softmax` (PaddleNLP): soft
        cross-entropy
        over one class, which is identically 0.
        """
        from tinybert.objectives.prediction import RegressionLoss, SoftCrossEntropyLoss

        if options.regression_target == "gold":
            return None
        if options.regression_target == "softmax":
            return SoftCrossEntropyLoss(options.temperature, options.reduction, options.scale)
        return RegressionLoss()

    # === Scores ===

    def score(self, task: Task, logits: np.ndarray, labels: np.ndarray, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Scores of logits `[N, 1]` or `[N]`."""
        import numpy as np

        checked = metrics.checked(task.name, logits, labels, task.num_outputs)
        return metrics.of_scores(task.metrics, checked.reshape(-1).astype(np.float64), labels)

    def score_teacher(self, task: Task, logits: np.ndarray, labels: np.ndarray) -> TeacherReport:
        """Weak: a correlation at or below 2 / sqrt(N), which must be below 1: at least five rows, and two different scores."""
        import numpy as np

        scores = self.score(task, logits, labels)
        reached, margin = scores[task.metric], 2 / math.sqrt(len(labels))
        informative = margin < 1 and bool(np.ptp(labels))
        return TeacherReport(
            scores,
            "no correlation",
            margin,
            weak=reached <= margin,
            informative=informative,
            worse=reached < -margin,
            constant=self.answers(task, logits[:1])[0] if not np.ptp(logits) and np.ptp(labels) else None,
            scale=scale_warning(labels, logits),
        )

    # === Predictions ===

    def answers(self, task: Task, logits: np.ndarray, decision: Mapping[str, float] | None = None) -> list[str]:
        """Scores to three decimals, within the task's bounds."""
        import numpy as np

        scores = logits[:, 0] if task.bounds is None else np.clip(logits[:, 0], *task.bounds)
        return [f"{value:.3f}" for value in scores]

    def check_variants(self, task: Task) -> str | None:
        """The allowed change of a score is relative to its scale."""
        if task.bounds is None:
            return "--filter teacher needs the range of the scores, which is unknown for your own files\nleave out the filter"
        return None

    def keeps_variants(self, task: Task, outputs: np.ndarray, keep: float) -> np.ndarray:
        """Variants whose score changes by at most the remaining share of the scale."""
        import numpy as np

        scale = task.bounds[1] - task.bounds[0]
        return np.abs(outputs[:, 0] - outputs[0, 0]) <= (1 - keep) * scale


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    # float() accepts 1_000; a score beyond float32 would be stored as infinite
    return value if math.isfinite(value) and abs(value) <= _LARGEST and "_" not in text else None


def scale_warning(gold: np.ndarray, predicted: np.ndarray) -> str | None:
    """A warning if gold scores `[N]` and a teacher's `[N]` are on very different scales, else None."""
    import numpy as np

    gold, predicted = np.asarray(gold, np.float64), np.asarray(predicted, np.float64)
    spread = gold.std(), predicted.std()
    off = abs(gold.mean() - predicted.mean()) > _SCALE * max(spread)
    if not off and (not min(spread) or max(spread) / min(spread) < _SCALE**2):
        return None
    return (
        f"the dev scores range from {gold.min():.4g} to {gold.max():.4g} (mean {gold.mean():.4g}), the teacher's outputs from "
        f"{predicted.min():.4g} to {predicted.max():.4g} (mean {predicted.mean():.4g}): they are on different scales"
    )
