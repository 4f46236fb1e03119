"""Extractive question answering: start and end of a span, windows over long texts, exact match and F1 as published."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tinybert.kinds.kind import Kind, Labels, LogitOptions, TeacherReport

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.questions import Windows
    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss


class QuestionAnswering(Kind):
    """Labels int64 `[B, 2]`, the positions of the answer's first and last token, 0 if the window has none; logits `[B, T, 2]`.

    `decision` has the `null_threshold`: by how much "no answer" must score better than the best answer (infinite: never).
    """

    name = "question_answering"
    title = "question answering"
    head = "span"
    label_type = "int32"
    label_word = "answer"
    names_labels = False
    of_windows = True
    metric_names = ("answer_f1", "exact_match", "average", "has_answer_f1", "no_answer_accuracy")
    decisions = ("null_threshold",)

    def outputs(self, labels: Labels) -> int:
        """Start and end."""
        return 2

    def label_width(self, labels: Labels) -> int:
        """Start and end."""
        return 2

    def reader(self, labels: Labels) -> Callable[[str], None]:
        """Answers cannot be read from a label text alone."""
        return lambda text: None

    def expected(self, labels: Labels) -> str:
        """The file format."""
        return "questions in SQuAD's layout"

    def describe(self, labels: Labels) -> str:
        """Two logits per token."""
        return "start and end of an answer"

    def head_config(self, labels: Labels) -> dict:
        """Determined by the class of the head."""
        return {}

    def gold_loss(self) -> Loss:
        """Cross-entropy of start and end."""
        from tinybert.objectives.spans import SpanGoldLoss

        return SpanGoldLoss()

    def teacher_loss(self, options: LogitOptions) -> Loss:
        """Cross-entropy with the teacher's distributions over positions."""
        from tinybert.objectives.spans import SpanSoftLoss

        return SpanSoftLoss(options.temperature, scale=options.scale)

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """The distribution is over positions, whose number differs between rows."""
        return {**super().inactive_options(values), "soft_ce_reduction": "the cross-entropy is the sum over the places of a row"}

    # === Scores ===

    def decide(self, task: Task, logits: np.ndarray, labels: Windows) -> dict[str, float]:
        """The no-answer threshold with the best F1, if some questions have no answer."""
        from tinybert.data import answers, metrics

        metrics.check_finite(task.name, logits)
        threshold = answers.best_threshold(answers.best_answers(logits, labels), labels.questions)
        return {} if math.isinf(threshold) else {"null_threshold": threshold}

    def score(self, task: Task, logits: np.ndarray, labels: Windows, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Scores of the best span over all windows of each question."""
        from tinybert.data import answers, metrics

        metrics.check_finite(task.name, logits)
        texts = answers.texts_of(answers.best_answers(logits, labels), (decision or {}).get("null_threshold"))
        return answers.of_answers(task.metrics, texts, labels.questions)

    def score_teacher(self, task: Task, logits: np.ndarray, labels: Windows) -> TeacherReport:
        """Weak: an F1 at or below that of never answering, or of guessing, plus two standard errors."""
        from tinybert.data import answers

        decision = self.decide(task, logits, labels)
        count = len(labels.questions)
        silent = sum(not question.answerable for question in labels.questions) / count
        margin = 2 * math.sqrt(max(silent * (1 - silent), 0.25 / count) / count)
        texts = answers.texts_of(answers.best_answers(logits, labels), decision.get("null_threshold"))
        scores = answers.of_answers((*task.metrics, "answer_f1"), texts, labels.questions)
        weak = scores["answer_f1"] <= silent + margin
        shown = {name: scores[name] for name in task.metrics}
        return TeacherReport(
            shown,
            f"the score without answers ({silent:.4f})",
            margin,
            weak=weak,
            informative=silent + margin < 1,
            worse=scores["answer_f1"] < silent - margin,
            constant="no answer" if silent < 1 and not any(texts) else None,
        )

    # === Predictions ===

    def check_variants(self, task: Task) -> str | None:
        """Augmentation would move the answer span."""
        return "questions cannot be augmented: changing words would move the answers"
