"""The rows to predict: a file of any size or standard input, its text and id columns, read in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tinybert.data.fields import FieldReader, Fields
from tinybert.data.formats import JSON, format_of
from tinybert.data.source import STDIN
from tinybert.data.tasks import Column, Split
from tinybert.errors import UserError

# default column names: the first one found is used
_PAIRS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "context"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
)
_SINGLE = ("text", "sentence", "text_a", "sentence1", "content", "review", "query", "title")
_IDS = ("id", "index", "idx", "guid", "qid")


@dataclass(frozen=True)
class InputFile:
    """The input and how it is read; None: detected from the file. Columns are names or 0-based numbers."""

    path: Path
    file_format: str | None = None
    header: bool | None = None
    quoting: str | None = None
    text_a_column: str | None = None
    text_b_column: str | None = None
    id_column: str | None = None

    @property
    def is_stdin(self) -> bool:
        """Whether rows come from standard input, which can only be read once."""
        return str(self.path) == STDIN


@dataclass
class Chunk:
    """Some consecutive rows; `ids` are those in the file, or 0-based row numbers."""

    ids: list[str]
    text_a: list[str]
    text_b: list[str] | None


class InputRows:
    """The rows of an input, in order.

    pair: whether the model takes pairs; None: determined by the columns.
    """

    def __init__(self, file: InputFile, pair: bool | None) -> None:
        path = file.path if file.is_stdin else file.path.expanduser()
        if not file.is_stdin and not path.is_file():
            raise UserError(
                f"--input {path} {'is a folder' if path.is_dir() else 'does not exist'}; expected a file of rows or - for stdin"
            )
        self.file, self.path, self.pair = file, path, pair
        form = file.file_format or ("tsv" if file.is_stdin else format_of(path))
        # standard input and .txt files have one text per line, and no header by default
        plain = file.file_format is None and (file.is_stdin or path.suffix.lower() == ".txt")
        header = (not plain) if file.header is None else file.header
        quoting = file.quoting or ("csv" if form == "csv" else "none")
        self.split = Split(str(path), 0, header=header, format=form, quoted=quoting == "csv")

    def chunks(self, rows: int, skip: int = 0) -> Iterator[Chunk]:
        """The rows after the first `skip`, in chunks of `rows`.

        Raises:
            UserError: an unreadable row, missing columns, or a file without rows; with file and line.
        """
        reader = _Reader(self)
        held: list[Fields] = []
        number = 0
        for row in reader:
            number += 1
            if number <= skip:
                continue
            held.append(row)
            if len(held) == rows:
                yield self._chunk(held, number - len(held))
                held = []
        if held:
            yield self._chunk(held, number - len(held))
        if not number:
            raise UserError(f"--input {self.path} has no rows{' below its header' if self.split.has_header else ''}.")

    def count(self, check: Callable[[bool], None]) -> int:
        """The number of rows; reads all of them, so that invalid rows are found before work starts. `check` is called for each chunk
        with whether its rows are pairs.
        """
        count = 0
        for chunk in self.chunks(1024):
            check(chunk.text_b is not None)
            count += len(chunk.ids)
        return count

    def _chunk(self, rows: list[Fields], before: int) -> Chunk:
        pair = rows[0].text_b is not None
        ids = [str(before + i) if row.index is None else row.index for i, row in enumerate(rows)]
        return Chunk(ids, [row.text_a for row in rows], [row.text_b or "" for row in rows] if pair else None)


class _Reader(FieldReader):
    """Rows whose columns are given by the options, or found by their default names."""

    def __init__(self, rows: InputRows) -> None:
        super().__init__(rows.path, rows.split, "the input", lambda _: False)
        self.rows = rows
        if not rows.split.has_header and rows.split.format not in JSON:
            file = rows.file
            columns = [_number(file, name) for name in ("text_a_column", "text_b_column", "id_column")]
            first = 0 if columns[0] is None else columns[0]
            second = columns[1] if columns[1] is not None or not rows.pair else first + 1
            self.split = replace(rows.split, text_a=first, text_b=second, index=columns[2])

    def _take_header(self, names: list[str], number: int) -> None:
        self.split = self._found([name.strip() for name in names], number)
        super()._take_header(names, number)

    def _of_object(self, record: dict[str, object], number: int) -> list[str | None]:
        if self.width is None:
            self.split, self.width = self._found(list(record), number), 0
        return super()._of_object(record, number)

    def _found(self, names: list[str], number: int) -> Split:
        file, pair = self.rows.file, self.rows.pair
        text_a, text_b = (self._column_of(option, names, number) for option in ("text_a_column", "text_b_column"))
        if text_a is None and text_b is None and pair is not False:
            text_a, text_b = next((both for both in _PAIRS if set(both) <= set(names)), (None, None))
        if text_a is None:
            text_a = names[0] if len(names) == 1 else next((name for name in _SINGLE if name in names), None)
        if text_a is None:
            found = f"the columns {', '.join(map(repr, names[:20]))}"
            raise self.source.error(number, found, f"one named {' or '.join(_SINGLE)}", "Give the text column with --text_a_column.")
        index = self._column_of("id_column", names, number) if file.id_column else next((name for name in _IDS if name in names), None)
        return replace(self.rows.split, text_a=text_a, text_b=text_b, index=index)

    def _column_of(self, option: str, names: list[str], number: int) -> Column | None:
        wanted = getattr(self.rows.file, option)
        if wanted is None or wanted in names or self.rows.split.format in JSON:
            return wanted
        if wanted.isascii() and wanted.isdigit() and int(wanted) < len(names):
            return int(wanted)
        found = f"the columns {', '.join(map(repr, names[:20]))}"
        raise self.source.error(number, found, f"{wanted!r}, as --{option} says", "Give a column name from the header, or its number.")


def _number(file: InputFile, option: str) -> int | None:
    wanted = getattr(file, option)
    if wanted is None:
        return None
    if not (wanted.isascii() and wanted.isdigit()):
        raise UserError(f"--{option} {wanted}: without a header, columns are numbers counted from 0")
    return int(wanted)
