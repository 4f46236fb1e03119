"""The labelled rows for evaluating exports, as tokenised by each tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.data.tokenizer import WordPiece
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError


def check_training_rows(task: Task) -> None:
    """Reject a task without training rows.

    Raises:
        UserError: says what they are needed for.
    """
    if "train" not in task.splits:
        raise UserError(f"{task.name} has no training rows, which are needed for calibration and --prune_vocabulary. Give --train_file.")


@dataclass
class ScoredRows:
    """The first evaluation split of a task, and how a model's outputs correspond to the task's labels.

    length: maximum number of tokens. order: the index of each task label among the model's outputs; None: the same order.
    decision: parameters of the model's predictions besides the logits, see `Kind.decide`.
    """

    task: Task
    folder: Path
    length: int
    order: list[int] | None = None
    decision: dict[str, float] | None = None

    @classmethod
    def of(cls, task: Task, folder: Path, predictor: Predictor) -> ScoredRows:
        """For a model.

        Raises:
            UserError: the task has no labelled rows, or its kind, its labels, or whether rows are pairs differ from the model's.
        """
        from tinybert.models.heads import output_order

        labels, outputs = predictor.named, predictor.kind.outputs(predictor.labels)
        if not task.eval_splits:
            raise UserError(f"{task.name} has no dev rows; an export is evaluated before it is written.\nGive them with --dev_file.")
        if task.kind is not predictor.kind:
            raise UserError(
                f"the model is for {predictor.kind.title}, but {task.name} is {task.kind.title}. Give rows of the model's task."
            )
        predictor.check(task.is_pair)
        if task.num_outputs != outputs:
            raise UserError(f"the model has {outputs} outputs, but {task.name} has {task.num_outputs}. Give rows of the model's task.")
        order = output_order(labels, task.labels) if labels and task.labels else None
        if labels and task.labels and order is None:
            raise UserError(
                f"the model's labels are {', '.join(labels)}, but {task.name} has {', '.join(task.labels)}. Give rows of the model's task."
            )
        return cls(task, folder, predictor.length, order, predictor.decision)

    @property
    def split(self) -> str:
        """The evaluated split."""
        return self.task.eval_splits[0]

    def store(self, tokenizer: WordPiece) -> TokenStore:
        """The rows as tokenised by a tokenizer."""
        return TokenStore.build_or_open(self.task, self.folder, self.split, tokenizer, self.length)

    def training_store(self, tokenizer: WordPiece) -> TokenStore:
        """The training rows of a task that passed `check_training_rows`."""
        return TokenStore.build_or_open(self.task, self.folder, "train", tokenizer, self.length)

    def score(self, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """The task's metrics of a model's logits `[N, C]`."""
        return self.task.kind.score(self.task, self._ordered(logits), labels, self.decision)

    def flips(self, logits: np.ndarray, reference: np.ndarray) -> int | None:
        """The number of rows whose prediction differs from the reference; None for numeric predictions."""
        if not self.task.kind.names_labels:
            return None
        answers = (self.task.kind.answers(self.task, self._ordered(found), self.decision) for found in (logits, reference))
        return sum(one != other for one, other in zip(*answers, strict=True))

    def _ordered(self, logits: np.ndarray) -> np.ndarray:
        return logits if self.order is None else logits[:, self.order]
