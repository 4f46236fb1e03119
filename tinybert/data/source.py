"""The text of a data file, decoded incrementally in bounded memory, with errors that name file and line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tinybert.data.content import check_is_text
from tinybert.errors import UserError

LIMIT = 1 << 24  # bytes of a line, or characters of a quoted field or JSON object: longer rows are rejected
BLOCK = 1 << 16
STDIN = "-"  # as a path: standard input
_BOM = b"\xef\xbb\xbf"
_RECODE = "Save the file as UTF-8 (for example with iconv)."


class Source:
    """A UTF-8 file or standard input, with or without byte-order mark.

    `bytes_read` is the current position, `bom` whether there was a byte-order mark.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self.bom = False

    def error(self, number: int, found: str, expected: str, advice: str) -> UserError:
        """The error of a line: what was found, what was expected, what to do."""
        return UserError(f"{self.path}, line {number}: found {found}, expected {expected}. {advice}")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Numbered lines including their ends, split only at LF.

        Raises:
            UserError: not UTF-8, a line longer than `LIMIT`, or a file that cannot be opened.
        """
        with self.open() as file:
            number = 0
            while raw := file.readline(LIMIT + 1):
                number += 1
                self.bytes_read += len(raw)
                if len(raw) > LIMIT:
                    raise self.error(number, f"more than {LIMIT >> 20} MiB without a line end", "shorter lines", "Is this a text file?")
                if number == 1 and raw.startswith(_BOM):
                    self.bom, raw = True, raw.removeprefix(_BOM)
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise self._not_utf8(number, error) from None
                yield number, text

    def blocks(self) -> Iterator[str]:
        """The text in blocks of bounded size, independent of line ends.

        Raises:
            UserError: not UTF-8, or a file that cannot be opened.
        """
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        number = 1
        with self.open() as file:
            self.bom = file.read(len(_BOM)) == _BOM
            file.seek(0)
            while True:
                raw = file.read(BLOCK)
                self.bytes_read += len(raw)
                try:
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    raise self._not_utf8(number + error.object[: error.start].count(b"\n"), error) from None
                number += text.count("\n")
                if text:
                    yield text
                if not raw:
                    return

    def _opened(self) -> BinaryIO:
        if str(self.path) == STDIN:
            return open(0, "rb", closefd=False)
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def open(self) -> BinaryIO:
        """The file's text as bytes.

        Raises:
            UserError: it cannot be opened, or is not text.
        """
        file = self._opened()
        check_is_text(self.path, file)
        return file

    def _not_utf8(self, number: int, error: UnicodeDecodeError) -> UserError:
        before = error.object[: error.start]
        at = error.start - (before.rfind(b"\n") + 1)
        return self.error(number, f"the byte 0x{error.object[error.start]:02x} at position {at}, which is not UTF-8", "UTF-8 text", _RECODE)
