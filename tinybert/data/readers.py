"""Strict reading of a task's files: invalid content is reported with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.fields import FieldReader, Fields
from tinybert.data.folder_files import names_in
from tinybert.data.tasks import Split, Task
from tinybert.errors import UserError
from tinybert.log import logger


@dataclass
class Chunk:
    """Some consecutive rows of a file; `labels` int64 `[N]` class indices, or float32 `[N]` scores."""

    text_a: list[str]
    text_b: list[str] | None
    labels: np.ndarray | None
    ids: list[str] | None
    bytes_read: int  # position in the file, for progress reports


@dataclass
class Examples:
    """All rows of a split; `labels` int64 `[N]` class indices, or float32 `[N]` scores; `ids` for submission files."""

    text_a: list[str]
    text_b: list[str] | None
    labels: np.ndarray | None
    source: Path
    sha256: str
    ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.text_a)


def split_path(task: Task, folder: str | Path, split: str) -> Path:
    """The existing file of a split.

    Raises:
        UserError: there is no such split or file.
    """
    path = Path(folder) / task.split(split).file
    if not path.is_file():
        if path.is_dir():
            raise UserError(f"{path} is a folder, expected the file of the {split} rows of {task.name}.")
        there = names_in(path.parent) if path.parent.is_dir() else "nothing"
        raise UserError(f"{path} does not exist (in that folder: {there}). It should contain the {split} rows of {task.name}.")
    return path


def read_split(task: Task, folder: str | Path, split: str) -> Examples:
    """Read a whole split into memory; see `iter_rows` for what is accepted and rejected."""
    path = split_path(task, folder, split)
    chunks = list(iter_rows(task, folder, split))
    columns = task.split(split)
    return Examples(
        text_a=[text for chunk in chunks for text in chunk.text_a],
        text_b=None if columns.text_b is None else [text for chunk in chunks for text in chunk.text_b or ()],
        labels=None if columns.label is None else np.concatenate([chunk.labels for chunk in chunks]),
        source=path,
        sha256=storage.sha256_of(path),
        ids=None if chunks[0].ids is None else [i for chunk in chunks for i in chunk.ids or ()],
    )


def iter_rows(task: Task, folder: str | Path, split: str, chunk_rows: int = 16384) -> Iterator[Chunk]:
    """Read a split in chunks, so that files of any size need the memory of one chunk.

    UTF-8 with or without byte-order mark; lines end with LF or CRLF, the last one with or without; in plain TSV nothing is
    unquoted, as in the published readers (fields that start with a double quote are ordinary text). Rows without label
    and index are numbered from 0.

    Raises:
        UserError: a missing or empty file, invalid UTF-8, a wrong number of columns, a missing column or key, an unknown
        label, or a score that is not a finite number; with file, line and what to do.
    """
    columns = task.split(split)
    used = UsedRows(task, folder, split)
    rows: list[Fields] = []
    labels: list[float] = []
    count = 0
    for row, value in used:
        if value is not None:
            labels.append(value)
        rows.append(row)
        if len(rows) == chunk_rows:
            yield _chunk(task, columns, rows, labels, count, used.reader.source.bytes_read)
            count += len(rows)
            rows, labels = [], []
    if rows:
        yield _chunk(task, columns, rows, labels, count, used.reader.source.bytes_read)
    for line in used.left_out():
        logger.warning(line)


class UsedRows:
    """The rows of a split that are used, in order, with the value of their label (None if labels are not read).

    `reader` gives the header and the position in the file. See `iter_rows` for what is rejected.
    """

    def __init__(self, task: Task, folder: str | Path, split: str) -> None:
        self.path = split_path(task, folder, split)
        self.task, self.columns = task, task.split(split)
        self.value_of = task.kind.reader(task.labels)
        self.reader = FieldReader(self.path, self.columns, task.name, lambda text: self.value_of(text) is not None)
        self.skipped = 0

    def __iter__(self) -> Iterator[tuple[Fields, float | None]]:
        """Yields rows and values; see `iter_rows` for what is raised."""
        count = 0
        for row in self.reader:
            value = None
            if self.columns.label is not None:
                text = (row.label or "").strip()
                if text in self.columns.skipped_labels:
                    self.skipped += 1
                    continue
                value = self.value_of(text)
                if value is None:
                    raise _wrong_label(self.reader, self.task, self.columns, text, row.line)
            count += 1
            yield row, value
        if not count:
            raise UserError(f"{self.path} has no rows{' below its header' if self.columns.has_header else ''}. Is the file complete?")

    def left_out(self) -> list[str]:
        """A description of the skipped rows, once all rows are read."""
        lines = []
        if self.reader.short:
            lines.append(f"{self.path}: {self.reader.short} rows with too few columns were skipped")
        if self.skipped:
            lines.append(f"{self.path}: {self.skipped} rows labelled {' or '.join(self.columns.skipped_labels)} were skipped")
        return lines


def iter_labels(path: Path, split: Split, task_name: str) -> Iterator[tuple[int, str]]:
    """The label of every row as text, with its line; see `iter_rows` for what is rejected."""
    for row in FieldReader(path, split, task_name, lambda _: False):
        yield row.line, (row.label or "").strip()


def _chunk(task: Task, split: Split, rows: list[Fields], labels: list[float], before: int, bytes_read: int) -> Chunk:
    ids = None
    if split.index is not None or split.label is None:  # the index is optional in JSON
        ids = [str(before + i) if row.index is None else row.index for i, row in enumerate(rows)]
    return Chunk(
        text_a=[row.text_a for row in rows],
        text_b=None if split.text_b is None else [row.text_b or "" for row in rows],
        labels=None if split.label is None else np.array(labels, task.kind.label_type),
        ids=ids,
        bytes_read=bytes_read,
    )


def _wrong_label(reader: FieldReader, task: Task, split: Split, text: str, number: int) -> UserError:
    column = split.label + 1 if isinstance(split.label, int) else repr(split.label)
    advice = f"Correct the row, or check that the file belongs to {task.name}."
    return reader.source.error(number, f"the label {text!r} in column {column}", task.kind.expected(task.labels), advice)
