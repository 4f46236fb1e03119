"""Answers that stand in a text: start and end of a span, windows over long texts, exact match and F1 as published."""

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

METRICS = ("answer_f1", "exact_match", "average", "has_answer_f1", "no_answer_accuracy")


class QuestionAnswering(Kind):
    """Labels int64 `[B, 2]`, the places of the first and last piece of the answer, 0 where the window has none; logits `[B, T, 2]`.

    `decision` holds the `null_threshold`: how much better no answer must be than the best one (infinite: never).
    """

    name = "question_answering"
    article = "a question answering"
    head = "span"
    label_type = "int32"
    label_word = "answer"
    names_labels = False
    of_windows = True

    def outputs(self, labels: Labels) -> int:
        """Start and end."""
        return 2

    def label_width(self, labels: Labels) -> int:
        """Start and end."""
        return 2

    def reader(self, labels: Labels) -> Callable[[str], None]:
        """An answer is more than a text."""
        return lambda text: None

    def expected(self, labels: Labels) -> str:
        """The layout of a file."""
        return "questions in SQuAD's layout"

    def describe(self, labels: Labels) -> str:
        """Two logits a piece."""
        return "start and end of an answer"

    def output_names(self, labels: Labels | None, outputs: int) -> Labels:
        """They have no names."""
        return ()

    def head_config(self, labels: Labels) -> dict:
        """The class of the head says the rest."""
        return {}

    def gold_loss(self) -> Loss:
        """Cross-entropy of start and end."""
        from tinybert.objectives.spans import SpanGoldLoss

        return SpanGoldLoss()

    def teacher_loss(self, options: LogitOptions) -> Loss:
        """Cross-entropy with the teacher's distributions over places."""
        from tinybert.objectives.spans import SpanSoftLoss

        return SpanSoftLoss(options.temperature, options.scale)

    def inactive_options(self, values: Mapping[str, object]) -> dict[str, str]:
        """A distribution is over places, of which rows have different numbers."""
        return {**super().inactive_options(values), "soft_ce_reduction": "the cross-entropy is the sum over the places of a row"}

    # === Scores ===

    def metrics(self, labels: Labels) -> tuple[str, ...]:
        """F1, exact match, their mean, and both kinds of questions apart."""
        return METRICS

    def own_metrics(self, labels: Labels) -> tuple[str, ...]:
        """F1 first."""
        return METRICS

    def decide(self, task: Task, logits: np.ndarray, labels: Windows) -> dict[str, float]:
        """The threshold for no answer with the best F1, where some questions have none."""
        from tinybert.data import answers, metrics

        metrics.check_finite(task.name, logits)
        threshold = answers.best_threshold(answers.best_answers(logits, labels), labels.questions)
        return {} if math.isinf(threshold) else {"null_threshold": threshold}

    def decision_of(self, config: dict) -> dict[str, float]:
        """As it stands there, if it does."""
        found = config.get("null_threshold")
        return {"null_threshold": float(found)} if isinstance(found, (int, float)) else {}

    def score(self, task: Task, logits: np.ndarray, labels: Windows, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Of the best span of all windows of each question."""
        from tinybert.data import answers, metrics

        metrics.check_finite(task.name, logits)
        texts = answers.texts_of(answers.best_answers(logits, labels), (decision or {}).get("null_threshold"))
        return answers.of_answers(task.metrics, texts, labels.questions)

    def score_teacher(self, task: Task, logits: np.ndarray, labels: Windows) -> TeacherReport:
        """Weak: an F1 at or below that of never answering, or of guessing, plus two standard errors."""
        from tinybert.data import answers

        scores = self.score(task, logits, labels, self.decide(task, logits, labels))
        count = len(labels.questions)
        silent = sum(not question.answerable for question in labels.questions) / count
        margin = 2 * math.sqrt(max(silent * (1 - silent), 0.25 / count) / count)
        reached = answers.of_answers(
            ("answer_f1",),
            answers.texts_of(answers.best_answers(logits, labels), self.decide(task, logits, labels).get("null_threshold")),
            labels.questions,
        )["answer_f1"]
        return TeacherReport(scores, f"never answering ({silent:.4f})", margin, weak=reached <= silent + margin, tells=silent + margin < 1)

    # === Predictions ===

    def check_variants(self, task: Task) -> str | None:
        """An answer is where it stands."""
        return "questions cannot be augmented: changing words would move the answers"
