"""The rows that a stage of task distillation trains on: labelled rows, texts without labels, or both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tinybert.data.store import Rows, TokenStore
from tinybert.data.streamed import StreamedStore
from tinybert.data.tasks import Task
from tinybert.recipes.task_data import TaskData


def training_splits(task: Task, augmented: bool) -> list[str]:
    """The splits to train on: the labelled or augmented rows if there are any, then texts without labels."""
    labelled = "train_aug" if augmented else "train"
    return [*([labelled] if labelled in task.splits or not task.unlabelled_splits else []), *task.unlabelled_splits]


@dataclass(frozen=True)
class TrainingRows:
    """Token stores by the names of their splits. With texts without labels, all rows are streamed, and none has a label."""

    stores: dict[str, TokenStore]
    unlabelled: tuple[str, ...]

    @classmethod
    def of(cls, data: TaskData, splits: list[str]) -> TrainingRows:
        """The rows of these splits, tokenised if necessary."""
        return cls({name: data.store(name) for name in splits}, data.task.unlabelled_splits)

    @cached_property
    def rows(self) -> Rows:
        """All rows, those with labels first."""
        return StreamedStore(list(self.stores.values())) if self.unlabelled else self.first

    @property
    def first(self) -> TokenStore:
        """The rows with labels if there are any."""
        return next(iter(self.stores.values()))

    @property
    def labelled(self) -> dict[str, TokenStore]:
        """The rows with labels."""
        return {name: store for name, store in self.stores.items() if name not in self.unlabelled}

    def identity(self, data: TaskData) -> dict[str, str]:
        """What must match when resuming."""
        return data.identity(self.first) | unlabelled_identity([self.stores[name].meta["source_sha256"] for name in self.unlabelled])

    def describe(self) -> str | None:
        """A line about the texts without labels; None if there are none."""
        texts = [self.stores[name] for name in self.unlabelled]
        if not texts:
            return None
        rows, tokens = sum(map(len, texts)), sum(int(store.offsets[-1]) for store in texts)
        return f"unlabelled: {rows:,} rows, {tokens:,} tokens in {len(texts)} file{'s' * (len(texts) > 1)}"


def unlabelled_identity(hashes: list[str]) -> dict[str, str]:
    """The files of texts without labels, by their hashes in order."""
    return {"unlabelled_data": ", ".join(hashes)} if hashes else {}
