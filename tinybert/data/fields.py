"""The fields of a split: which columns or keys of each record are text, label and index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinybert.data.clue import RECORDS, RecordError
from tinybert.data.formats import DELIMITERS, Record, other_delimiter, records
from tinybert.data.source import Source
from tinybert.data.tasks import Column, Split

_SEPARATORS = {"\t": "tabs", ",": "commas"}


@dataclass(slots=True)
class Fields:
    """One row as text; None if the split has no such column. `line` is where it starts, `raw` is the row as written in the file."""

    line: int
    raw: str
    text_a: str
    text_b: str | None
    label: str | None
    index: str | None


def column_names(path: Path, split: Split) -> list[str]:
    """The names in a file's header, or the keys of its first object; empty if it has neither.

    Raises:
        UserError: the file cannot be read.
    """
    for _, record, _ in records(Source(path), split.format, split.quoted):
        if record:
            return [name.strip() for name in record] if split.header or isinstance(record, dict) else []
    return []


class FieldReader:
    """The rows of one file, in order; `short` counts rows skipped because they have too few columns, `header` is the first line if it
    names columns, `picked` the positions of text_a, text_b, label and index.

    `is_label` distinguishes a header from a row: a first line with a label in place of the label column's name is rejected.
    """

    def __init__(self, path: Path, split: Split, task_name: str, is_label: Callable[[str], bool]) -> None:
        self.source = Source(path)
        self.split, self.task_name, self.is_label = split, task_name, is_label
        self.short = 0
        self.width: int | None = None  # from the header or the first row
        self.names: list[str] = []  # of the columns
        self.picked: list[int | None] = []
        self.header = ""

    def __iter__(self) -> Iterator[Fields]:
        """Yields rows.

        Raises:
            UserError: a blank line between rows, a wrong number of columns, a missing column or key, or a value that is not text;
            with file, line and what to do.
        """
        blank = 0  # line number of a blank line, which is only allowed at the end of the file
        for number, record, raw in records(self.source, self.split.format, self.split.quoted):
            if self._blank(record):
                blank = blank or number
                continue
            if blank:
                raise self.source.error(blank, "a blank line between rows", "a row", "Delete the line.")
            if isinstance(record, dict):
                yield Fields(number, raw, *self._of_object(record, number))
            elif self.width is None and self.split.header:
                self._take_header(record, number)
                self.header, self.names = raw, record
            elif self._fits(record, number):
                if record == self.names and len(record) > 1:
                    raise self.source.error(number, "the header again", "a row", "Were files concatenated? Delete the line.")
                yield Fields(number, raw, *(None if at is None else record[at] for at in self.picked))

    def _blank(self, record: Record) -> bool:
        if isinstance(record, dict):
            return False
        # rows with empty texts are kept if no label is required
        impossible = self.split.label is not None or (len(record) == 1 and self.width != 1)
        return not record or (impossible and not any(field.strip() for field in record))

    @property
    def _columns(self) -> list[Column | None]:
        return [self.split.text_a, self.split.text_b, self.split.label, self.split.index]

    # === Columns ===

    def _take_header(self, names: list[str], number: int) -> None:
        names = [name.strip() for name in names]
        column = self.split.label
        if isinstance(column, int) and column < len(names) and self.is_label(names[column]):
            raise self.source.error(number, f"a row with the label {names[column]!r}", "the column names", "Add a header line.")
        self._set_width(len(names), [self._position(column, names, number) for column in self._columns], number)

    def _position(self, column: Column | None, names: list[str], number: int) -> int | None:
        if column is None or isinstance(column, int):
            return column
        if names.count(column) != 1:
            found = f"the columns {', '.join(map(repr, names))}"
            advice = self._hint() or "Give a column name from the header, or its number."
            raise self.source.error(number, found, f"one column {column!r}", advice)
        return names.index(column)

    def _set_width(self, width: int, picked: list[int | None], number: int) -> None:
        last = max(at for at in picked if at is not None)
        if width <= last:
            separators = _SEPARATORS[DELIMITERS[self.split.format]]
            need = f"at least {last + 1} columns separated by {separators}"
            raise self.source.error(number, f"{width} columns", need, self._hint() or f"Is this the {self.split.file} of {self.task_name}?")
        # texts may contain commas and semicolons; column names, or a tab in a CSV file, may not
        hint = self._hint() if width == 1 else ""
        if hint and (self.split.header or "tabs" in hint):
            separators = _SEPARATORS[DELIMITERS[self.split.format]]
            raise self.source.error(number, "1 column", f"fields separated by {separators}", hint)
        self.width, self.picked = width, picked

    def _hint(self) -> str:
        return other_delimiter(self.source.path, self.split.format)

    def _fits(self, row: list[str], number: int) -> bool:
        if self.width is None:
            self._set_width(len(row), [self._position(column, [], number) for column in self._columns], number)
        if len(row) == self.width:
            return True
        if len(row) < (self.width or 0) and self.split.skips_short_rows:
            self.short += 1
            return False
        advice = "Look for a tab or line break inside a sentence."
        if self.split.format == "csv" or self.split.quoted:
            advice = "Put fields that hold the delimiter or a line break in double quotes."
        raise self.source.error(number, f"{len(row)} columns", f"{self.width}", advice)

    # === Keys ===

    def _of_object(self, record: dict[str, object], number: int) -> list[str | None]:
        text_a, text_b, label, index = self._columns
        texts = self._of_record(record, number) if self.split.record else self._named(record, number, text_a, text_b)
        return [*texts, *self._named(record, number, label, index if index in record else None)]

    def _named(self, record: dict[str, object], number: int, *keys: Column | None) -> list[str | None]:
        return [None if key is None else self._value(record, str(key), number) for key in keys]

    def _of_record(self, record: dict[str, object], number: int) -> list[str | None]:
        try:
            return list(RECORDS[self.split.record](record))
        except RecordError as error:
            raise self.source.error(number, error.found, error.expected, "Correct the row.") from None

    def _value(self, record: dict[str, object], key: str, number: int) -> str:
        if key not in record:
            keys = ", ".join(map(repr, record)) or "none"
            raise self.source.error(number, f"the keys {keys}", f"the key {key!r}", "Every row needs it; the text may be empty.")
        value = record[key]
        if isinstance(value, bool):
            return "true" if value else "false"
        many = self.split.many_labels and key == str(self.split.label) and isinstance(value, list)
        if many and all(isinstance(part, str) and "|" not in part for part in value):
            value = "|".join(value if len(value) != 1 else value * 2)  # with a bar, a comma inside a label is not a separator
        if not isinstance(value, str):
            found = {type(None): "null", list: "a list", float: f"{value}, which is not a number,"}.get(type(value), "an object")
            raise self.source.error(number, f"{found} under {key!r}", "a text, a number, true or false", "Correct the row.")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            found = f"half of a surrogate pair under {key!r}"
            raise self.source.error(
                number, found, "whole characters", "The text was truncated inside an escape sequence; correct the row."
            ) from None
        return value
