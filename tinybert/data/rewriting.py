"""Replaces the texts in a row of a file and keeps everything else unchanged."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring

from tinybert.data.formats import DELIMITERS, JSON, NAMED
from tinybert.data.tasks import Split
from tinybert.errors import UserError

_LINE_END = re.compile(r"\r?\n\Z|\r\Z")
_DECODER = json.JSONDecoder()
_BLANKS = " \t\r\n"


@dataclass(frozen=True)
class Frame:
    """The text around the rows of a file: `head` before the first, `between` two, `tail` after the last."""

    head: str
    between: str
    tail: str


@dataclass(frozen=True)
class Rewriter:
    """Replaces the texts in rows of one file.

    `columns` are the positions or keys of the texts, one or two. `line_end` is appended to rows without one, such as the last row of a
    file. `published`: rows are written like Python's csv writer in the published scripts: fields with a double quote are quoted, quotes in
    them doubled, and lines end with CRLF, although their readers do not undo it.
    """

    format: str
    quoted: bool
    columns: tuple[int | str, ...]
    line_end: str = "\n"
    published: bool = False

    @classmethod
    def of(cls, split: Split, picked: list[int | None], first: str, published: bool) -> Rewriter:
        """For a split whose reader has found its columns at `picked`; `first` is a line of the file.

        Raises:
            UserError: `published` for a file that is not plain TSV, or a file that is not text.
        """
        if split.format in NAMED and split.format not in JSON:
            raise UserError(f"{split.file} is a {split.format} file: augmented rows are written as plain text.\nConvert it to CSV first.")
        if split.record is not None:
            raise UserError(f"the texts of {split.file} combine several keys\nvariants of such texts cannot be written back")
        if published and (split.format != "tsv" or split.quoted):
            raise UserError(
                "--quotes published applies only to TSV files without quoting, as written by the published scripts\n"
                f"{split.file} is {split.format}{' with quoted fields' if split.quoted else ''}: leave out the option"
            )
        columns = (split.text_a, split.text_b) if split.format in JSON else (picked[0], picked[1])
        end = _LINE_END.search(first)
        return cls(split.format, split.quoted, tuple(c for c in columns if c is not None), end.group() if end else "\n", published)

    def frame(self, header: str, bom: bool) -> Frame:
        """The text around the rows, including the header and byte-order mark of the file."""
        mark = "\ufeff" if bom else ""
        if self.format == "json":
            return Frame(mark + "[\n", ",\n", "\n]\n")
        return Frame(mark + (self.row(header) if header else ""), "", "")

    def row(self, raw: str, *texts: str) -> str:
        """A row with its texts replaced, including the line end; without texts, the unchanged row."""
        if self.format in JSON:
            row = raw.strip(_BLANKS) if self.format == "json" else raw
            for key, text in zip(self.columns, texts, strict=False):
                row = _with_value(row, str(key), text)
            return row if self.format == "json" else self._ended(row)
        end = _LINE_END.search(raw)
        body = raw[: end.start()] if end else raw
        if texts or self.published:
            fields = _spans(body, DELIMITERS[self.format]) if self.quoted else body.split(DELIMITERS[self.format])
            for column, text in zip(self.columns, texts, strict=False):
                fields[int(column)] = self._field(text, fields[int(column)])
            if self.published:
                fields = [_minimally_quoted(field) for field in fields]
            body = DELIMITERS[self.format].join(fields)
        return body + ("\r\n" if self.published else end.group() if end else self.line_end)

    def _ended(self, row: str) -> str:
        return row if _LINE_END.search(row) else row + self.line_end

    def _field(self, text: str, before: str) -> str:
        special = any(character in text for character in f'"\r\n{DELIMITERS[self.format]}')
        return '"' + text.replace('"', '""') + '"' if self.quoted and (special or before.startswith('"')) else text


def _minimally_quoted(field: str) -> str:
    return '"' + field.replace('"', '""') + '"' if any(character in field for character in '"\t\r\n') else field


def _spans(body: str, delimiter: str) -> list[str]:
    """The fields of an RFC 4180 row as written, including quotes."""
    field = re.compile(rf'"(?:[^"]|"")*"|[^{re.escape(delimiter)}]*')
    fields, at = [], 0
    while True:
        match = field.match(body, at)
        fields.append(match.group())
        at = match.end() + 1
        if at > len(body):
            return fields


def _with_value(raw: str, key: str, text: str) -> str:
    """A JSON object with the text of a top-level key replaced; of duplicate keys the last one, which is the one that is read."""
    at, span = raw.index("{") + 1, None
    while True:
        at = _skip(raw, at)
        if raw[at] == "}":
            break
        if raw[at] == ",":
            at = _skip(raw, at + 1)
        name, at = scanstring(raw, at + 1)
        begin = _skip(raw, _skip(raw, at) + 1)
        _, at = _DECODER.raw_decode(raw, begin)
        if name == key:
            span = begin, at
    begin, end = span
    return raw[:begin] + json.dumps(text, ensure_ascii=raw[begin:end].isascii()) + raw[end:]


def _skip(raw: str, at: int) -> int:
    while raw[at] in _BLANKS:
        at += 1
    return at
