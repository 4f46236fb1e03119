"""Soft labels as the source of a stage's teacher traces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle

from tinybert import storage
from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.soft_labels import CONTENTS, soft_label_option
from tinybert.data.custom_files import listed_labels
from tinybert.data.soft_labels import SoftLabels, read_soft_labels, row_ids
from tinybert.data.store import Rows
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.kinds.kind import TeacherReport
from tinybert.models.trace import EncoderTrace, Inputs, Needs


def soft_labels_of(config: TaskDistillConfig, task: Task) -> SoftLabels | None:
    """The soft labels that the run reads, checked; None if there are none.

    Raises:
        UserError: they do not belong to this task, see `read_soft_labels`.
    """
    option = soft_label_option(config)
    if option is None or not config.method_object.reads_teacher:
        return None
    found = read_soft_labels(getattr(config, option), CONTENTS[option], task, config.id_column)
    return found.with_labels(listed_labels(config.teacher_labels, "--teacher_labels") if config.teacher_labels and task.labels else None)


def soft_label_identity(soft: SoftLabels | None, config: TaskDistillConfig) -> dict[str, str]:
    """What must match when resuming: the file, what it contains, and how its rows are found."""
    if soft is None:
        return {}
    labels = ", ".join(soft.task.labels[i] for i in np.argsort(soft.order)) if soft.order else ", ".join(soft.task.labels)
    return {"soft_labels": f"{soft.content} {storage.known_sha256(soft.path)} of {labels}, by {config.id_column or 'order'}"}


class SoftLabelTraces:
    """The soft labels of the training rows, called with a batch like `TeacherTraces`.

    Raises:
        UserError: the file has another number of rows, or lacks the id of one; or an objective needs more than logits.
    """

    model = None
    kind = "soft labels"

    def __init__(self, soft: SoftLabels, needs: Needs, folder: Path, stores: Mapping[str, Rows]) -> None:
        """stores: the training rows by split, in order. folder: of their files."""
        self.soft, rows = soft, sum(map(len, stores.values()))
        self.needs = needs
        self._places: np.ndarray | None = None
        if soft.ids is not None:
            self._places = soft.places(name for split in stores for name in row_ids(soft.task, folder, split))
        elif len(soft) != rows:
            raise UserError(
                f"{soft.path}: found {len(soft):,} rows\nexpected {rows:,}, one for each row of {', then '.join(stores)}, in order; "
                "or give both files a column of ids and name it with --id_column"
            )

    @property
    def needs(self) -> Needs:
        """The content of a trace: logits."""
        return self._needs

    @needs.setter
    def needs(self, needs: Needs) -> None:
        if needs | Needs(logits=True) != Needs(logits=True):
            raise UserError(f"{self.soft.path} has only {self.soft.content}, but a loss needs hidden states or attention\ngive a teacher")
        self._needs = needs

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """The soft labels of a micro-batch as logits; None if the objective does not need them."""
        return EncoderTrace(logits=paddle.to_tensor(self.logits(inputs.rows))) if self.needs else None

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """The logits of training rows `[B]`, float32 `[B, C]`."""
        return self.soft.logits(rows if self._places is None else self._places[rows])

    def report(self, gold: np.ndarray) -> TeacherReport:
        """Their scores on the labels of the first training rows."""
        task = self.soft.task
        return task.kind.score_teacher(task, self.logits(np.arange(len(gold))), gold)

    def facts(self) -> dict:
        """Details for run.json."""
        soft = self.soft
        return {"soft_labels": {"file": str(soft.path), "content": soft.content, "rows": len(soft), "named": soft.named}}
