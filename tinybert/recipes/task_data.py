"""The token stores of one task, and batches as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import paddle

from tinybert.data.batches import Batch
from tinybert.data.places import locate
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.data.tokenizer import WordPiece
from tinybert.models.trace import Inputs


@dataclass
class TaskData:
    """Where a task's text lies and how it becomes tokens."""

    task: Task
    folder: Path
    tokenizer: WordPiece
    max_seq_length: int

    @classmethod
    def find(cls, task: Task, arguments, splits: list[str], tokenizer: WordPiece, max_seq_length: int) -> TaskData:
        """Locate (or download) the files of these splits, as the data options of the command line say."""
        folder = locate(task, arguments.data_dir, arguments.glue_dir, splits)
        return cls(task, folder, tokenizer, max_seq_length)

    def store(self, split: str) -> TokenStore:
        """The tokens of one split, built once and then memory-mapped."""
        return TokenStore.build_or_open(self.task, self.folder, split, self.tokenizer, self.max_seq_length)


def tensors(batch: Batch) -> Inputs:
    """A micro-batch as tensors on the current device."""
    labels = None if batch.labels is None else paddle.to_tensor(batch.labels)
    return Inputs(
        paddle.to_tensor(batch.input_ids),
        paddle.to_tensor(batch.token_type_ids),
        paddle.to_tensor(batch.attention_mask),
        labels,
        batch.share,
    )


def splits_for(task: Task, augmented: bool, train: bool, predict: bool) -> list[str]:
    """The splits that a run reads."""
    names = list(task.eval_splits)
    if train:
        names.insert(0, "train_aug" if augmented else "train")
    if predict:
        names += task.test_splits
    return names
