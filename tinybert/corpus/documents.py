"""Raw text as documents: one sentence or paragraph per line, a blank line between documents, plain or gzip; never all in memory."""

from __future__ import annotations

import fnmatch
import glob
import gzip
import hashlib
import itertools
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tinybert import storage
from tinybert.corpus.sentences import are_paragraphs, split_sentences
from tinybert.data.content import detect_format
from tinybert.data.source import Source
from tinybert.errors import UserError

CHUNK_CHARACTERS = 1 << 20  # tokenised by one process at a time
LONGEST_DOCUMENT = 1 << 22  # characters after which a document is split: a file without blank lines may not fit into memory
LOOKED_AT = 200  # lines examined to detect whether a line is a sentence or a paragraph
_GZIP = b"\x1f\x8b"


@dataclass
class Chunk:
    """Documents that are tokenised together: lists of lines without line ends or blank lines."""

    documents: list[list[str]] = field(default_factory=list)
    bytes_read: int = 0  # position in the files on disk


def check_output_outside(path: str | Path, output: Path, option: str) -> None:
    """Reject an output folder inside the input folder or matched by its pattern: the next run would read it too.

    Raises:
        UserError: the output is inside.
    """
    source, target = Path(path).expanduser(), output.expanduser()
    if source.is_dir():
        if target.resolve().is_relative_to(source.resolve()):
            raise UserError(
                f"--output_dir {output} is inside {option} {path}, where every file is read as text.\nChoose a folder elsewhere."
            )
    elif not source.is_file():
        pattern, folder = (Path(os.path.abspath(each)).parts for each in (source, target))
        if _reaches(pattern, folder):
            raise UserError(f"{option} {path} may also match files in --output_dir {output}.\nChoose an output folder elsewhere.")


def _reaches(pattern: tuple[str, ...], folder: tuple[str, ...]) -> bool:
    """Whether a pattern, part by part, can match something in a folder; parts without wildcards must be equal."""
    if not pattern or not folder:
        return bool(pattern) and glob.has_magic(pattern[0])
    if pattern[0] == "**":
        return _reaches(pattern[1:], folder) or _reaches(pattern, folder[1:])
    return fnmatch.fnmatchcase(folder[0], pattern[0]) and _reaches(pattern[1:], folder[1:])


class TextCorpus:
    """The text of a file, of all files of a folder (recursively), or of the files that match a pattern, in sorted order.

    split: split every line into sentences; None: if the first lines contain several each (`split` is then the detected value).
    A document ends with its file. A document above `LONGEST_DOCUMENT` characters is split.

    Raises:
        UserError: no file, no text, or a file that is not text.
    """

    def __init__(self, path: str | Path, split: bool | None = None) -> None:
        self.path = str(path)
        self.files = _files(self.path)
        for file in self.files:
            _check_text(file)
        self.bytes = sum(file.stat().st_size for file in self.files)
        first = list(itertools.islice(itertools.chain.from_iterable(self._documents()), LOOKED_AT))
        if not first:
            raise UserError(
                f"{self.path} contains no text: {len(self.files)} file(s) without words. Expected one sentence or paragraph per line."
            )
        self.split = are_paragraphs(first) if split is None else split

    @property
    def sha256(self) -> str:
        """sha256 over the contents of all files, in order."""
        return hashlib.sha256(" ".join(map(storage.sha256_of, self.files)).encode()).hexdigest()

    def processes(self, most: int) -> int:
        """The number of processes to start, at most `most`: starting takes a while, so a small text uses one."""
        return min(most, 1 + self.bytes // (2 * CHUNK_CHARACTERS))

    def check_documents(self) -> None:
        """Reject a corpus with only one document.

        Raises:
            UserError: there is a single file without blank lines between texts.
        """
        blank = 0
        for file in self.files:
            seen = False
            for _, line in _lines(file):
                if line.strip():
                    blank += not seen
                    seen = True
                else:
                    seen = False
                if blank > 1:
                    return
        raise UserError(
            f"{self.path} contains only one document, but random second sentences come from other documents.\n"
            "Separate documents by blank lines, or choose --sequences packed."
        )

    def documents(self) -> Iterator[list[str]]:
        """Each document as a list of sentences (or lines, without `split`).

        Raises:
            UserError: a file is damaged or not UTF-8.
        """
        return (sentences(document, self.split) for document in self._documents())

    def chunks(self, characters: int | None = None) -> Iterator[Chunk]:
        """The documents' lines in chunks of about that many characters, `CHUNK_CHARACTERS` by default.

        Raises:
            UserError: a file is damaged or not UTF-8.
        """
        chunk, size = Chunk(), 0
        for document in self._documents():
            chunk.documents.append(document)
            size += sum(map(len, document))
            if size >= (characters or CHUNK_CHARACTERS):
                chunk.bytes_read = self._bytes_read
                yield chunk
                chunk, size = Chunk(), 0
        if chunk.documents:
            chunk.bytes_read = self.bytes
            yield chunk

    def _documents(self) -> Iterator[list[str]]:
        self._bytes_read = before = 0
        for file in self.files:
            source = _TextFile(file)
            document: list[str] = []
            size = 0
            for _, line in _lines(file, source):
                text = line.strip()
                if text:
                    document.append(text)
                    size += len(text)
                if document and (not text or size > LONGEST_DOCUMENT):
                    self._bytes_read = before + source.position()
                    yield document
                    document, size = [], 0
            if document:
                self._bytes_read = before + source.position()
                yield document
            before += file.stat().st_size


def sentences(document: list[str], split: bool) -> list[str]:
    """A document's lines, split into sentences if `split`."""
    return [sentence for line in document for sentence in split_sentences(line)] if split else document


def _files(path: str) -> list[Path]:
    given = Path(path).expanduser()
    if given.is_file():
        return [given]
    if given.is_dir():
        found = [
            file for file in given.rglob("*") if file.is_file() and not any(part.startswith(".") for part in file.relative_to(given).parts)
        ]
        what = "the folder contains no files"
    else:
        found = [file for file in map(Path, glob.glob(str(given), recursive=True)) if file.is_file()]
        what = "no file matches the pattern" if glob.has_magic(path) else "there is no such file or folder"
    if not found:
        raise UserError(f"the corpus {path} has no text: {what}. Give a text file, a folder of text files, or a quoted pattern.")
    return sorted(found)


def _check_text(file: Path) -> None:
    try:
        with _TextFile(file).open() as opened:
            start = opened.read(1 << 16)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    known = detect_format(start)
    if known is not None:
        raise UserError(f"{file}: found {known[0]}, expected UTF-8 text. {known[1].replace('FILE', file.name)}")
    if b"\0" in start:
        raise UserError(f"{file} is a binary file (byte 0 at {start.index(0)}); expected text. Give only text files.")


class _TextFile(Source):
    """A `Source` that decompresses gzip, detected by its first bytes."""

    def position(self) -> int:
        """The position in the file on disk."""
        return self.path.stat().st_size if self._on_disk.closed else self._on_disk.tell()

    def open(self) -> BinaryIO:
        """The decompressed text as bytes."""
        plain = self._opened()
        if plain.peek(2)[:2] != _GZIP:
            self._on_disk = plain
            return plain
        plain.close()
        packed = gzip.open(self.path)  # noqa: SIM115 (closed by who reads it)
        self._on_disk = packed.fileobj
        return packed


def _lines(file: Path, source: Source | None = None) -> Iterator[tuple[int, str]]:
    try:
        yield from (source or _TextFile(file)).lines()
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{file} is a damaged gzip file: {error}. Download or compress it again.") from None
