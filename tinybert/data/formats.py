"""Splits files into records: tab-separated, comma-separated, JSON lines, a JSON array, or a table of another program."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from tinybert.data.source import LIMIT, Source
from tinybert.data.tables import parquet_rows, workbook_rows
from tinybert.errors import UserError

FORMATS = ("tsv", "csv", "jsonl", "json", "parquet", "xlsx")
LINES = "lines"  # one text per line
TAGGED = "conll"  # words and tags in columns separated by whitespace, a blank line between sentences
JSON = ("jsonl", "json")
NAMED = (*JSON, "parquet", "xlsx")  # every row names its fields
DELIMITERS = {"tsv": "\t", "csv": ","}
_BY_SUFFIX = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".xlsx": "xlsx"}
_OTHERS = {"tabs": "\t", "commas": ",", "semicolons": ";", "vertical bars": "|"}
_BLANKS = " \t\r\n"
# numbers are kept as written, so that the labels 1 and 1.0 differ and long numbers are no error; only NaN and Infinity, which are not
# JSON, become floats
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=float)

Record = list[str] | dict[str, object]


def format_of(path: Path) -> str:
    """The format of a file by its suffix; `.json` is an array if the text starts with a bracket, else JSON lines.

    Raises:
        UserError: an unknown suffix.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return "json" if _Array(Source(path)).mark() == "[" else "jsonl"
    if suffix not in _BY_SUFFIX:
        raise UserError(
            f"{path}: the suffix {suffix!r} is not a known format; expected {', '.join((*_BY_SUFFIX, '.json'))}\n"
            f"Give the format with --file_format {'|'.join(FORMATS)}."
        )
    return _BY_SUFFIX[suffix]


def records(source: Source, form: str, quoted: bool) -> Iterator[tuple[int, Record, str]]:
    """The records of a file: the line where each starts, its content, and its original text; a blank line is an empty record.

    `form` is one of `FORMATS`, or `LINES`, where blank lines are left out. With `quoted`, fields of TSV and CSV may be in double quotes
    (RFC 4180) and contain delimiters and line breaks; otherwise, quotes are text.

    Raises:
        UserError: the text does not have this format; with file and line.
    """
    if form in ("parquet", "xlsx"):
        return _table(source, form)
    if form == LINES:
        return _lines(source)
    if form in JSON:
        return _json_lines(source) if form == "jsonl" else _Array(source).items()
    return _quoted(source, DELIMITERS[form]) if quoted else _split(source, DELIMITERS[form])


def other_delimiter(path: Path, form: str) -> str:
    """A sentence about the delimiter that a TSV or CSV file seems to use instead; empty if none is found."""
    first = next((line for _, line in Source(path).lines()), "") if form in DELIMITERS else ""
    if first.lstrip(_BLANKS)[:1] in ("{", "["):
        return "Its first line looks like JSON: add --file_format jsonl or json."
    if DELIMITERS.get(form, "") in first:
        return ""
    counts = {name: first.count(character) for name, character in _OTHERS.items() if character != DELIMITERS[form]}
    most = max(counts, key=counts.__getitem__)
    if not counts[most]:
        return ""
    known = {"tabs": "Add --file_format tsv.", "commas": "Add --file_format csv."}
    return f"Its first line has {most} between the fields. {known.get(most, 'Save it with tabs or commas.')}"


def _table(source: Source, form: str) -> Iterator[tuple[int, Record, str]]:
    rows = parquet_rows(source.path) if form == "parquet" else workbook_rows(source.path)
    for number, row in enumerate(rows, start=1 if form == "parquet" else 2):
        yield number, row or [], ""
    source.bytes_read = source.path.stat().st_size


# === Delimited text ===


def _split(source: Source, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    for number, raw in source.lines():
        line = raw.removesuffix("\n").removesuffix("\r")
        yield number, line.split(delimiter) if line else [], raw


def _lines(source: Source) -> Iterator[tuple[int, list[str], str]]:
    for number, raw in source.lines():
        if line := raw.strip():
            yield number, [line], raw


def _quoted(source: Source, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    csv.field_size_limit(LIMIT)  # process-wide; the default limit of 128 KiB would reject long documents
    taken: list[str] = []  # the lines of the current row

    def lines() -> Iterator[str]:
        for _, line in source.lines():
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            advice = "Close every double quote and double those inside a field, or treat quotes as text with --quoting none."
            raise source.error(number, f"a row that cannot be read ({error})", "fields according to RFC 4180", advice) from None
        yield number, row, "".join(taken)
        taken.clear()


# === JSON ===


def _object(source: Source, number: int, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise source.error(
            number, f"a JSON {_kind(value)}", 'an object such as {"text": "...", "label": "..."}', "Write one object per row."
        )
    return value


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "null" if value is None else "text, number or boolean"


def _json_lines(source: Source) -> Iterator[tuple[int, Record, str]]:
    for number, line in source.lines():
        if not line.strip(_BLANKS):
            yield number, [], line
            continue
        try:
            value = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            advice = "Write one JSON object per line, or add --file_format json if the file is one array."
            raise source.error(number, f"invalid JSON ({_reason(error)})", "one JSON object", advice) from None
        yield number, _object(source, number, value), line


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.colno}"
    return "nested too deeply"


class _Array:
    """One JSON array of objects, read through a window, so that files of any size need little memory."""

    def __init__(self, source: Source) -> None:
        self.source, self.blocks = source, source.blocks()
        self.held, self.line = "", 1  # the window, and the line where it starts

    def mark(self) -> str:
        """The next non-blank character, "" at the end of the file."""
        while True:
            self._drop(len(self.held) - len(self.held.lstrip(_BLANKS)))
            if self.held or not self._more():
                return self.held[:1]

    def items(self) -> Iterator[tuple[int, Record, str]]:
        """The objects, each with the line where it starts and its text."""
        if self.mark() not in ("[", ""):
            raise self._error("no opening bracket", "a JSON array of objects: [{...}, {...}]")
        self._drop(1)
        following = self.mark()
        while following and following != "]":
            number = self.line
            value, raw = self._item()
            yield number, _object(self.source, number, value), raw
            following = self.mark()
            if following == ",":
                self._drop(1)
                if self.mark() == "]":
                    raise self._error("a comma before the closing bracket", "another object")
            elif following != "]":
                raise self._error(f"{following or 'the end of the file'!r} after an object", "a comma or the closing bracket")
        if following:
            self._drop(1)
            if self.mark():
                raise self._error("text after the closing bracket", "the end of the file")

    def _item(self) -> tuple[object, str]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self.held)
            except RecursionError as error:
                raise self._error(f"invalid JSON ({_reason(error)})", "an object") from None
            except ValueError as error:
                if len(self.held) <= LIMIT and self._double():
                    continue  # the object may be cut by the end of the window
                number = self.line + self.held.count("\n", 0, getattr(error, "pos", 0))
                raise self._error(f"invalid JSON ({getattr(error, 'msg', error)})", "an object", number) from None
            raw = self.held[:end]
            self._drop(end)
            return value, raw

    def _double(self) -> bool:
        before = len(self.held)
        while len(self.held) < 2 * before and self._more():
            pass
        return len(self.held) > before

    def _more(self) -> bool:
        block = next(self.blocks, "")
        self.held += block
        return bool(block)

    def _drop(self, count: int) -> None:
        self.line += self.held.count("\n", 0, count)
        self.held = self.held[count:]

    def _error(self, found: str, expected: str, number: int | None = None) -> UserError:
        advice = "Is the file complete? If it has one object per line, add --file_format jsonl."
        return self.source.error(number or self.line, found, expected, advice)
