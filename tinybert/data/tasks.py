"""Which tasks exist: their files, columns, labels and metrics."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from tinybert.errors import UserError


@dataclass(frozen=True)
class Split:
    """One tab-separated file of a task; columns count from 0.

    `header`: the first line names the columns. `index`: the column that a submission file repeats.
    `skips_short_rows`: rows with too few columns are counted and left out instead of being an error.
    """

    file: str
    text_a: int
    text_b: int | None = None
    label: int | None = None
    header: bool = True
    index: int | None = None
    skips_short_rows: bool = False

    @property
    def last_column(self) -> int:
        """The highest column that is read."""
        return max(c for c in (self.text_a, self.text_b, self.label, self.index) if c is not None)


@dataclass(frozen=True)
class Task:
    """A sentence or sentence-pair task: `labels` in the order of the logits, empty for a regression.

    `metrics` are the names that `metrics.score` reports, `metric` the one that decides which model is the best.
    """

    name: str
    folder: str
    labels: tuple[str, ...]
    splits: dict[str, Split]
    metrics: tuple[str, ...] = ("accuracy",)
    metric: str = "accuracy"

    @property
    def regression(self) -> bool:
        """Whether the label is a number."""
        return not self.labels

    @property
    def num_outputs(self) -> int:
        """Width of the logits: the number of classes, 1 for a regression."""
        return len(self.labels) or 1

    @property
    def is_pair(self) -> bool:
        """Whether a row holds two sentences."""
        return any(split.text_b is not None for split in self.splits.values())

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """The labelled splits to score on; the first one decides which model is the best."""
        return tuple(name for name in self.splits if name.split("_")[0] == "dev")

    @property
    def test_splits(self) -> tuple[str, ...]:
        """The splits to predict for a submission."""
        return tuple(name for name in self.splits if name.split("_")[0] == "test")

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
            UserError: the task has no such split.
        """
        if name not in self.splits:
            raise UserError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]


def _splits(train: Split, test: Split | None, dev: dict[str, Split] | None = None) -> dict[str, Split]:
    dev = dev or {"dev": replace(train, file="dev.tsv")}
    splits = {"train": train, "train_aug": replace(train, file="train_aug.tsv"), **dev}
    if test is not None:
        splits["test"] = test
    return splits


_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_WITH_F1 = ("accuracy", "f1", "accuracy_and_f1")


def _mnli_splits() -> dict[str, Split]:
    train = Split("train.tsv", 8, 9, 11)
    kinds = ("matched", "mismatched")
    dev = {f"dev_{kind}": replace(train, file=f"dev_{kind}.tsv", label=15) for kind in kinds}
    test = {f"test_{kind}": Split(f"test_{kind}.tsv", 8, 9, index=0) for kind in kinds}
    return {**_splits(train, None, dev), **test}


def _pair_task(name: str, labels: tuple[str, ...]) -> Task:
    train = Split("train.tsv", 1, 2, 3)
    return Task(name, name, labels, _splits(train, Split("test.tsv", 1, 2, index=0)))


# Label order, columns and file names are those of PaddleNLP's GLUE reader, so that its fine-tuned models fit.
_GLUE = (
    Task(
        "CoLA",
        "CoLA",
        _BINARY,
        _splits(Split("train.tsv", 3, label=1, header=False), Split("test.tsv", 1, index=0)),
        metrics=("mcc", "accuracy"),
        metric="mcc",
    ),
    Task("SST-2", "SST-2", _BINARY, _splits(Split("train.tsv", 0, label=1), Split("test.tsv", 1, index=0))),
    Task(
        "MRPC",
        "MRPC",
        _BINARY,
        _splits(Split("train.tsv", 3, 4, 0), Split("test.tsv", 3, 4, index=0)),
        metrics=_WITH_F1,
    ),
    Task(
        "STS-B",
        "STS-B",
        (),
        _splits(Split("train.tsv", 7, 8, 9), Split("test.tsv", 7, 8, index=0)),
        metrics=("pearson", "spearman", "pearson_and_spearman"),
        metric="pearson_and_spearman",
    ),
    Task(
        "QQP",
        "QQP",
        _BINARY,
        # the published train.tsv has a few questions with a line break inside: their halves have too few columns
        _splits(Split("train.tsv", 3, 4, 5, skips_short_rows=True), Split("test.tsv", 1, 2, index=0)),
        metrics=_WITH_F1,
    ),
    Task("MNLI", "MNLI", ("contradiction", "entailment", "neutral"), _mnli_splits()),
    _pair_task("QNLI", _ENTAILMENT),
    _pair_task("RTE", _ENTAILMENT),
    _pair_task("WNLI", _BINARY),
)
_DEMO = Task("demo", "demo", _BINARY, _splits(Split("train.tsv", 0, label=1), None))

GLUE_TASKS: tuple[str, ...] = tuple(task.name for task in _GLUE)
TASKS: dict[str, Task] = {task.name: task for task in (*_GLUE, _DEMO)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_PLAIN_NAME = {_plain(name): task for name, task in TASKS.items()} | {"mnlimm": TASKS["MNLI"]}


def get_task(name: str) -> Task:
    """The task of that name, in any case and with or without hyphen; `mnli-mm` is MNLI, whose dev files stay apart.

    Raises:
        UserError: no such task; the message names the nearest one and lists all.
    """
    plain = _plain(name)
    if plain in _BY_PLAIN_NAME:
        return _BY_PLAIN_NAME[plain]
    near = difflib.get_close_matches(plain, list(_BY_PLAIN_NAME), n=1, cutoff=0.5)
    hint = f" Did you mean {_BY_PLAIN_NAME[near[0]].name}?" if near else ""
    raise UserError(f"There is no task {name!r}.{hint} Tasks: {', '.join(TASKS)}.")
