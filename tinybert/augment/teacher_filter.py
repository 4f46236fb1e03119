"""Drops variants for which the fine-tuned teacher's confidence collapses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle

from tinybert.config.resolved import Settings
from tinybert.data.batches import sequential
from tinybert.data.metrics import check_outputs
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.models.limits import check_positions
from tinybert.models.loading import LoadedModel, load_classifier
from tinybert.models.trace import Inputs, Needs, trace

BATCH = 64


@dataclass
class TeacherFilter:
    """A fine-tuned teacher, and the share of its confidence (`keep`) that must remain for a variant."""

    teacher: LoadedModel
    keep: float
    length: int
    task: Task

    @classmethod
    def load(cls, settings: Settings, task: Task) -> TeacherFilter:
        """Load the teacher named in the settings.

        Raises:
            UserError: as `load_classifier`; a length beyond its positions, or a task for which variants cannot be filtered.
        """
        reason = task.kind.check_variants(task)
        if reason is not None:
            raise UserError(reason)
        teacher = load_classifier(
            settings.teacher_path, labels=task.labels, needs_head=True, kind=task.kind, do_lower_case=settings.do_lower_case, role="teacher"
        )
        check_positions("teacher", teacher, settings.filter_length, "--filter_length")
        teacher.model.eval()
        return cls(teacher, settings.filter_keep, settings.filter_length, task)

    def kept(self, made: list[list[tuple[str, ...]]]) -> list[list[tuple[str, ...]]]:
        """The texts of each row and of the variants that pass; the row itself comes first and always passes."""
        flat = [texts for row in made for texts in row]
        outputs = self._outputs(flat)
        result, at = [], 0
        for row in made:
            own = outputs[at : at + len(row)]
            result.append(
                [texts for texts, good in zip(row, self.task.kind.keeps_variants(self.task, own, self.keep), strict=True) if good]
            )
            at += len(row)
        return result

    def _outputs(self, rows: list[tuple[str, ...]]) -> np.ndarray:
        """The teacher's logits for rows of texts, `[N, C]`; truncated, formatted and batched as in training and evaluation."""
        tokenizer = self.teacher.tokenizer
        sides = [list(texts) for texts in zip(*rows, strict=True)]
        flat, first, _ = tokenizer.rows(sides[0], sides[1] if len(sides) > 1 else None, self.length)
        store = TokenStore.from_arrays(flat, first=first, pad_id=tokenizer.pad_id)
        outputs = np.zeros((len(store), self.teacher.config.num_labels), np.float32)
        with paddle.no_grad():
            for batch in sequential(store, BATCH):
                outputs[batch.rows] = trace(self.teacher.model, Inputs.of(batch), Needs(logits=True)).logits.astype("float32").numpy()
        check_outputs(outputs, "the teacher", "augmented rows")
        return outputs
