"""One tag per word: named entities and similar tasks, from CoNLL columns or JSON, scored by whole entities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinybert.kinds.classification import Classification
from tinybert.kinds.kind import Kind, Labels, LogitOptions, TeacherReport

if TYPE_CHECKING:
    import numpy as np

    from tinybert.data.store import Rows
    from tinybert.data.tagged import TaggedWords
    from tinybert.data.tasks import Task
    from tinybert.objectives.objective import Loss


class TokenClassification(Kind):
    """Labels int64 `[B, T]` at the first token of each word and negative elsewhere, logits `[B, T, C]`; the first label is "outside".

    Losses are means over words; `data.tagged` defines the rows of a data set.
    """

    name = "token_classification"
    title = "token classification"
    head = "token"
    label_type = "int16"
    label_word = "tag"
    of_words = True
    weighs_labels = True
    metric_names = ("entity_f1", "strict_f1", "precision", "recall", "accuracy")

    def gold_loss(self) -> Loss:
        """Cross-entropy of every word with its tag."""
        from tinybert.objectives.words import WordGoldLoss

        return WordGoldLoss()

    def label_counts(self, rows: Rows, labels: Labels) -> tuple[np.ndarray, int]:
        """Words with each tag."""
        import numpy as np

        tags = rows.words.labels
        counts = np.bincount(tags[tags >= 0], minlength=len(labels))
        return counts, int(counts.sum())

    def teacher_loss(self, options: LogitOptions) -> Loss:
        """Cross-entropy of every word with the teacher's distribution."""
        from tinybert.objectives.words import WordSoftLoss

        return WordSoftLoss(options.temperature, options.reduction, options.scale)

    # === Scores ===

    def score(self, task: Task, logits: np.ndarray, labels: TaggedWords, decision: Mapping[str, float] | None = None) -> dict[str, float]:
        """Scores of the tag with the highest logit for every word `[W, C]`."""
        from tinybert.data import entities, metrics

        metrics.check_finite(task.name, logits)
        return entities.of_tags(task.metrics, logits.argmax(1), labels, task.labels)

    def score_teacher(self, task: Task, logits: np.ndarray, labels: TaggedWords) -> TeacherReport:
        """A teacher is weak if its entity F1 is at most 1 / sqrt(number of entities); guessing finds almost none."""
        from tinybert.data import entities

        count = entities.count_entities(labels, task.labels)
        margin = 1 / math.sqrt(max(1, count))
        scores = self.score(task, logits, labels)
        reached = entities.of_tags(("entity_f1",), logits.argmax(1), labels, task.labels)["entity_f1"]
        constant = "no entity" if count and not logits.argmax(1).any() else None
        return TeacherReport(
            scores, "the score without entities", margin, weak=reached <= margin, informative=margin < 1, constant=constant
        )

    # === Predictions ===

    probabilities, logits_of = Classification.probabilities, Classification.logits_of

    def check_variants(self, task: Task) -> str | None:
        """A replaced word would need a new tag."""
        return "tagged words cannot be augmented: the tag of a new word is unknown"
