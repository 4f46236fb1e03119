"""Reading a task's tab-separated files, strictly: what does not fit is named with file and line."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.tasks import Split, Task
from tinybert.errors import UserError

_BOM = b"\xef\xbb\xbf"


@dataclass
class Chunk:
    """Some consecutive rows of a file; `labels` int64 `[N]` class indices, or float32 `[N]` scores."""

    text_a: list[str]
    text_b: list[str] | None
    labels: np.ndarray | None
    ids: list[str] | None
    bytes_read: int  # of the file up to here, for progress lines


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
        there = sorted(p.name for p in path.parent.iterdir())[:8] if path.parent.is_dir() else []
        raise UserError(
            f"{path} does not exist (in that folder: {', '.join(there) or 'nothing'}). It should hold the {split} rows of {task.name}."
        )
    return path


def read_split(task: Task, folder: str | Path, split: str) -> Examples:
    """Read a whole split into memory, see `iter_rows` for what is accepted and refused."""
    path = split_path(task, folder, split)
    chunks = list(iter_rows(task, folder, split))
    columns = task.split(split)
    return Examples(
        text_a=[text for chunk in chunks for text in chunk.text_a],
        text_b=None if columns.text_b is None else [text for chunk in chunks for text in chunk.text_b or ()],
        labels=None if columns.label is None else np.concatenate([chunk.labels for chunk in chunks]),
        source=path,
        sha256=storage.sha256_of(path),
        ids=None if columns.index is None else [i for chunk in chunks for i in chunk.ids or ()],
    )


def iter_rows(task: Task, folder: str | Path, split: str, chunk_rows: int = 16384) -> Iterator[Chunk]:
    """Read a split chunk by chunk, so that a file of any length needs the memory of one chunk.

    UTF-8 with or without byte-order mark; lines end with LF or CRLF, the last one with or without; nothing is unquoted,
    as in the published readers (fields that start with a double quote are ordinary text).

    Raises:
        UserError: a missing or empty file, broken UTF-8, a wrong number of columns, an unknown label, a score that is
        not a
            finite number; with file, line and what to do.
    """
    path = split_path(task, folder, split)
    columns = task.split(split)
    reader = _Rows(task, columns, path)
    rows: list[list[str]] = []
    labels: list[float] = []
    count = 0
    for row, label in reader:
        rows.append(row)
        labels.append(label)
        if len(rows) == chunk_rows:
            count += len(rows)
            yield _chunk(task, columns, rows, labels, reader.bytes_read)
            rows, labels = [], []
    if rows:
        yield _chunk(task, columns, rows, labels, reader.bytes_read)
    if reader.short:
        print(f"{path}: {reader.short} rows with too few columns were left out", file=sys.stderr)
    if not count and not rows:
        raise UserError(f"{path} has no rows{' below its header' if columns.header else ''}. Is the file complete?")


def _chunk(task: Task, split: Split, rows: list[list[str]], labels: list[float], bytes_read: int) -> Chunk:
    return Chunk(
        text_a=[row[split.text_a] for row in rows],
        text_b=None if split.text_b is None else [row[split.text_b] for row in rows],
        labels=None if split.label is None else np.array(labels, np.float32 if task.regression else np.int64),
        ids=None if split.index is None else [row[split.index] for row in rows],
        bytes_read=bytes_read,
    )


class _Rows:
    """The checked rows of one file, each with its label's value."""

    def __init__(self, task: Task, split: Split, path: Path) -> None:
        self.task, self.columns, self.path = task, split, path
        self.index_of = {label: i for i, label in enumerate(task.labels)}
        self.width: int | None = None  # of the header, or of the first row
        self.short = 0
        self.bytes_read = 0

    def __iter__(self) -> Iterator[tuple[list[str], float]]:
        blank = 0  # line number of a blank line, which is fine at the end of the file only
        with open(self.path, "rb") as file:
            for number, raw in enumerate(file, start=1):  # a binary file is cut at \n and nowhere else
                self.bytes_read += len(raw)
                line = self._decode(raw.removeprefix(_BOM) if number == 1 else raw, number)
                if not line.strip():
                    blank = blank or number
                    continue
                if blank:
                    raise self._error(blank, "a blank line between rows", "a row", "Delete the line.")
                row = line.split("\t")
                if number == 1 and self.columns.header:
                    self._check_header(row)
                elif self._fits(row, number):
                    yield row, self._label(row, number)

    def _decode(self, raw: bytes, number: int) -> str:
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            found = f"the byte 0x{raw[error.start]:02x} at position {error.start}, which is not UTF-8"
            raise self._error(number, found, "UTF-8 text", "Save the file as UTF-8 (for example with iconv).") from None
        return line.removesuffix("\n").removesuffix("\r")

    def _check_header(self, row: list[str]) -> None:
        column = self.columns.label
        if column is not None and column < len(row) and self._value(row[column].strip()) is not None:
            raise self._error(1, f"a row with the label {row[column].strip()!r}", "the names of the columns", "Add a header line.")
        self._set_width(row, 1)

    def _set_width(self, row: list[str], number: int) -> None:
        if len(row) <= self.columns.last_column:
            need = f"at least {self.columns.last_column + 1} columns separated by tabs"
            raise self._error(number, f"{len(row)} columns", need, f"Is this the {self.columns.file} of {self.task.name}?")
        self.width = len(row)

    def _fits(self, row: list[str], number: int) -> bool:
        if self.width is None:
            self._set_width(row, number)
        if len(row) == self.width:
            return True
        if len(row) < self.width and self.columns.skips_short_rows:
            self.short += 1
            return False
        raise self._error(number, f"{len(row)} columns", f"{self.width}", "Look for a tab or line break inside a sentence.")

    def _label(self, row: list[str], number: int) -> float:
        if self.columns.label is None:
            return 0
        text = row[self.columns.label].strip()
        value = self._value(text)
        if value is None:
            expected = "a finite number" if self.task.regression else f"one of {', '.join(self.task.labels)}"
            where = f"the label {text!r} in column {self.columns.label + 1}"
            raise self._error(number, where, expected, f"Correct the row, or check that the file belongs to {self.task.name}.")
        return value

    def _value(self, text: str) -> float | None:
        if not self.task.regression:
            return self.index_of.get(text)
        try:
            value = float(text)
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def _error(self, number: int, found: str, expected: str, advice: str) -> UserError:
        return UserError(f"{self.path}, line {number}: found {found}, expected {expected}. {advice}")
