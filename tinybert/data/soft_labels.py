"""Soft labels: a file with the logits or probabilities of any model, one vector per row."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinybert.data.formats import format_of, records
from tinybert.data.readers import UsedRows
from tinybert.data.source import Source
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.kinds.kind import some_of

ARRAYS = (".npy", ".npz")
TABLES = (".tsv", ".txt", ".csv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")
TOLERANCE = 0.01  # of the sum of a row: files are often rounded to two or three decimals
_PREFIXES = ("", "proba_", "logit_")  # of columns; `predict --proba` writes the second
_CHUNK = 65536
_IDS, _SCORE = "ids", "score"


@dataclass(frozen=True)
class SoftLabels:
    """The outputs of a model for rows: `values` `[N, C]` as in the file, possibly memory-mapped.

    content: `logits` or `probabilities`. named: whether the file names its labels. order: the column of each label of the task; None: the
    columns are in the task's order. ids: of the rows, None if the file has none.
    """

    path: Path
    content: str
    task: Task
    values: np.ndarray
    named: bool = False
    order: tuple[int, ...] | None = None
    ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """The logits of rows of the file `[B]` in the task's label order, float32 `[B, C]`."""
        found = np.asarray(self.values[rows], np.float64)
        if self.order is not None:
            found = found[:, list(self.order)]
        return (found if self.content == "logits" else self.task.kind.logits_of(found)).astype(np.float32)

    def with_labels(self, told: tuple[str, ...] | None) -> SoftLabels:
        """The same with the labels of unnamed columns.

        Raises:
            UserError: the file names its labels itself, or these are not the task's.
        """
        if told is None:
            return self
        if self.named:
            raise UserError(f"--teacher_labels: {self.path} names its labels itself\nleave out the option")
        return replace(self, order=_order(told, self.task, "--teacher_labels"))

    def places(self, ids: Iterable[str]) -> np.ndarray:
        """The row of the file for each id, int64 `[N]`.

        Raises:
            UserError: an id occurs twice in the file, or one is missing.
        """
        row_of = {name: row for row, name in enumerate(self.ids or ())}
        if len(row_of) < len(self):
            twice = next(name for row, name in enumerate(self.ids or ()) if row_of[name] != row)
            raise UserError(f"{self.path}: found the id {twice!r} twice, expected different ids. Delete or rename one of the rows.")
        found = array("q")
        missing: list[str] = []
        for name in ids:
            found.append(row_of.get(name, -1))
            if found[-1] < 0:
                missing.append(name)
        if missing:
            raise UserError(
                f"{self.path}: found no row for {len(missing):,} of {len(found):,} training rows, such as the id {missing[0]!r}\n"
                "expected one row per training row; add the rows, or train without these"
            )
        return np.frombuffer(found, np.int64)


def read_soft_labels(path: Path, content: str, task: Task, id_column: str | None = None) -> SoftLabels:
    """Read and check a file of soft labels.

    content: `logits` or `probabilities`. id_column: the column or key of the ids (NPZ: the array, else `ids`); None: rows are in order.

    Raises:
        UserError: a missing or unreadable file, other labels than the task's, values that are not finite, or rows of probabilities that
        do not sum to 1; with what was found and expected.
    """
    path = Path(path).expanduser()
    if task.kind.head != "sequence":
        raise UserError(
            f"--teacher_{content} has one vector per row, but {task.kind.title} has several outputs per row\n"
            "give a teacher with --teacher_path"
        )
    if content == "probabilities" and not task.kind.names_labels:
        raise UserError(f"--teacher_probabilities: {task.kind.title} has {task.kind.label_word}s\ngive them with --teacher_logits")
    if not path.is_file():
        raise UserError(f"--teacher_{content} {path} {'is a folder' if path.is_dir() else 'does not exist'}\nexpected a file of {content}")
    suffix = path.suffix.lower()
    if suffix not in (*ARRAYS, *TABLES):
        raise UserError(f"--teacher_{content} {path}: the suffix {path.suffix!r} is not known\nexpected {', '.join((*ARRAYS, *TABLES))}")
    found = _arrays(path, content, task, id_column) if suffix in ARRAYS else _table(path, content, task, id_column)
    if id_column is not None and found.ids is None:
        raise UserError(f"{path} has no ids, but --id_column {id_column} was given\nuse a file with ids, or leave out the option")
    _check_values(found)
    return found


def row_ids(task: Task, folder: Path, split: str) -> Iterator[str]:
    """The ids of the rows of a split, in order.

    Raises:
        UserError: a row has none.
    """
    used = UsedRows(task, folder, split)
    for row, _ in used:
        if row.index is None:
            raise used.reader.source.error(row.line, "no id", f"a value under {used.columns.index!r}", "Add it, or leave out --id_column.")
        yield row.index


def _order(names: tuple[str, ...], task: Task, where: str) -> tuple[int, ...] | None:
    if sorted(names) != sorted(task.labels):
        raise UserError(
            f"{where}: found the labels {some_of(names)}, expected those of {task.name}: {some_of(task.labels)}\n"
            "rename them, or check the task"
        )
    order = tuple(names.index(label) for label in task.labels)
    return None if order == tuple(range(len(order))) else order


# === NumPy files ===


def _arrays(path: Path, content: str, task: Task, id_column: str | None) -> SoftLabels:
    ids = labels = None
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as archive:
                named = {name: archive[name] for name in archive.files}
            values = named.pop(content, None)
            ids = next((named.pop(name) for name in (id_column, _IDS) if name in named), None)
            labels = named.pop("labels", None)
            if values is None:
                raise UserError(f"{path}: found the arrays {', '.join(map(repr, named)) or 'none'}, expected {content!r}")
    except UserError:
        raise
    except Exception as error:  # of zipfile, zlib or the tokenizer of Python, depending on where the file is damaged
        raise UserError(f"{path}: found no readable NumPy file ({error})\nwrite it with numpy.save or numpy.savez") from None
    outputs = task.num_outputs
    if values.ndim == 1 and not task.labels:
        values = values.reshape(-1, 1)
    if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != outputs:
        shape = " x ".join(map(str, values.shape))
        raise UserError(
            f"{path}: found an array of {values.dtype}, {shape}\nexpected numbers, rows x {outputs}, for {task.kind.describe(task.labels)}"
        )
    if ids is not None and ids.shape != values.shape[:1]:
        raise UserError(f"{path}: found {len(ids.ravel()):,} ids for {len(values):,} rows\nexpected one per row")
    found = SoftLabels(path, content, task, values, labels is not None, None, None if ids is None else [str(name) for name in ids])
    if labels is not None and task.labels:
        found = replace(found, order=_order(tuple(map(str, labels.ravel())), task, str(path)))
    return found


# === Tables ===


class _Table:
    """Collects the numbers and ids of the rows of a table."""

    def __init__(self, source: Source, content: str, task: Task, id_column: str | None) -> None:
        self.source, self.content, self.task, self.id_column = source, content, task, id_column
        self.values = array("f")
        self.ids: list[str] = []
        self.keys: list[str] | None = None

    def add(self, number: int, record: dict[str, object]) -> None:
        """A row that starts in this line."""
        held = record.get(self.content, record)
        if isinstance(held, list):
            cells = held
        else:
            if not isinstance(held, dict):
                held = {_SCORE: held}
            if self.keys is None:
                self.keys = self._find_keys(list(held), number)
            missing = next((key for key in self.keys if key not in held), None)
            if missing is not None:
                raise self.source.error(number, f"the keys {some_of(tuple(held))}", f"the key {missing!r}", "Every row needs it.")
            cells = [held[key] for key in self.keys]
        if len(cells) != self.task.num_outputs:
            expected = f"{self.task.num_outputs}, for {self.task.kind.describe(self.task.labels)}"
            raise self.source.error(number, f"{len(cells)} numbers", expected, "Does the file belong to this task?")
        self.values.extend(self._number(cell, number) for cell in cells)
        if self.id_column is not None:
            name = record.get(self.id_column)
            if not isinstance(name, str):
                raise self.source.error(number, f"no id under {self.id_column!r}", "a text or number", "Every row needs its id.")
            self.ids.append(name)

    def use_header(self, names: list[str], number: int) -> None:
        """Find the columns of a delimited file; ids may be given by their number, counted from 0."""
        if self.id_column is not None and self.id_column not in names and self.id_column.isdecimal() and int(self.id_column) < len(names):
            self.id_column = names[int(self.id_column)]
        self.keys = self._find_keys(names, number)

    def _find_keys(self, names: list[str], number: int) -> list[str]:
        """The columns of the labels in the task's order."""
        others = [name for name in names if name != self.id_column]
        if not self.task.labels:
            if _SCORE in others or len(others) == 1:
                return [_SCORE if _SCORE in others else others[0]]
            raise self.source.error(number, f"the columns {some_of(tuple(names))}", f"a column {_SCORE!r}", "Rename the column.")
        for prefix in _PREFIXES:
            if all(prefix + label in others for label in self.task.labels):
                return [prefix + label for label in self.task.labels]
        found, expected = f"the columns {some_of(tuple(names))}", f"one column for each label: {some_of(self.task.labels)}"
        raise self.source.error(number, found, expected, "Name the columns in a header; `predict --proba` writes such files.")

    def _number(self, cell: object, number: int) -> float:
        try:
            if isinstance(cell, bool) or "_" in str(cell):
                raise ValueError
            return float(cell)  # type: ignore[arg-type]  other types raise TypeError
        except (TypeError, ValueError):
            raise self.source.error(number, f"{cell!r}", f"a number among the {self.content}", "Correct the row.") from None


def _table(path: Path, content: str, task: Task, id_column: str | None) -> SoftLabels:
    form = format_of(path)
    source = Source(path)
    table = _Table(source, content, task, id_column)
    header: list[str] | None = None
    blank = 0
    for number, record, _ in records(source, form, form == "csv"):
        if not record:
            blank = blank or number
            continue
        if blank:
            raise source.error(blank, "a blank line between rows", "a row", "Delete the line.")
        if isinstance(record, dict):
            table.add(number, record)
        elif header is None:
            header = [name.strip() for name in record]
            if len(set(header)) < len(header):
                raise source.error(number, "two columns of the same name", "different names", "Rename one of them.")
            table.use_header(header, number)
        elif len(record) != len(header):
            raise source.error(number, f"{len(record)} columns", str(len(header)), "Correct the row.")
        else:
            table.add(number, dict(zip(header, record, strict=True)))
    values = np.frombuffer(table.values, np.float32).reshape(-1, task.num_outputs)
    return SoftLabels(path, content, task, values, named=table.keys is not None, ids=table.ids if id_column is not None else None)


# === Values ===


def _check_values(found: SoftLabels) -> None:
    if not len(found):
        raise UserError(f"{found.path} has no rows\nexpected one per training row")
    sums = bool(found.task.labels) and not found.task.kind.many_labels  # whether the probabilities of a row sum to 1
    like_probabilities = sums and len(found) > 1
    for begin in range(0, len(found), _CHUNK):
        part = np.asarray(found.values[begin : begin + _CHUNK], np.float64)
        with np.errstate(over="ignore"):
            _refuse(found, begin, ~np.isfinite(part.astype(np.float32)).all(1), part, "finite numbers")
        inside = ((part >= -TOLERANCE) & (part <= 1 + TOLERANCE)).all(1)
        one = inside & (abs(part.sum(1) - 1) <= TOLERANCE)
        if found.content == "probabilities":
            _refuse(found, begin, ~inside, part, "probabilities from 0 to 1; give logits with --teacher_logits")
            if sums:
                _refuse(found, begin, ~one, part, f"probabilities that sum to 1 within {TOLERANCE:g}")
        like_probabilities = like_probabilities and bool(one.all())
    if found.content == "logits" and like_probabilities:
        raise UserError(
            f"{found.path}: found rows of numbers from 0 to 1 that sum to 1, expected logits\n"
            "give probabilities with --teacher_probabilities"
        )


def _refuse(found: SoftLabels, begin: int, wrong: np.ndarray, part: np.ndarray, expected: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        shown = ", ".join(f"{value:.6g}" for value in part[row][:10]) + (", ..." if part.shape[1] > 10 else "")
        raise UserError(f"{found.path}: found {shown} in row {begin + row} (counted from 0)\nexpected {expected}")
