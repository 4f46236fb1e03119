"""Word vectors: GloVe, fastText or Tencent text files, parsed once into a memory-mapped table, and batched nearest-neighbour search.

A table is a folder in `cache_home()/word_vectors/`, named by a hash of the text file: `vectors.npy` (float32, rows normalised to length 1),
the arrays of a `WordIndex`, `meta.json`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinybert import storage
from tinybert.augment.word_index import WordIndex
from tinybert.data.appending import AppendedArray
from tinybert.data.cache import open_cached
from tinybert.data.content import check_is_text
from tinybert.errors import UserError
from tinybert.log import logger

FORMAT = 2
UNKNOWN = "<unk>"  # stands for unknown words, never a neighbour
_LINES = 4096  # parsed, or multiplied, at a time
_QUERIES = 256


class WordVectors:
    """Words and their normalised vectors, `[V, D]`, most frequent words first; `meta` describes their source."""

    def __init__(self, words: WordIndex, vectors: np.ndarray, meta: dict) -> None:
        self.words, self.vectors, self.meta = words, vectors, meta
        self._unknown = words.row(UNKNOWN)
        self._near: dict[int, np.ndarray] = {}

    def row(self, word: str) -> int | None:
        """The row of a word, or else of its lower-case form; None if the table has neither."""
        row = self.words.row(word)
        row = self.words.row(word.lower()) if row is None else row
        return None if row == self._unknown else row

    def forget(self) -> None:
        """Clear the cached neighbours."""
        self._near.clear()

    def neighbours(self, rows: Iterable[int], count: int) -> dict[int, np.ndarray]:
        """The `count` nearest rows of each row by cosine, nearest first, without itself and `<unk>`; cached per row.

        A float32 product finds all candidates within its rounding error; these are sorted by float64 sums, ties by frequency, so the order
        does not depend on which words are queried together.
        """
        wanted = list(dict.fromkeys(rows))
        new = [row for row in wanted if row not in self._near or len(self._near[row]) < min(count, self._others(row))]
        for begin in range(0, len(new), _QUERIES):
            part = new[begin : begin + _QUERIES]
            self._near.update(zip(part, self._nearest(np.array(part), count), strict=True))
        return {row: self._near[row][:count] for row in wanted}

    def _others(self, row: int) -> int:
        return len(self.words) - len({row, self._unknown} - {None})

    def _nearest(self, rows: np.ndarray, count: int) -> list[np.ndarray]:
        queries = np.asarray(self.vectors[rows], np.float32)
        rounding = 2 * queries.shape[1] * np.finfo(np.float32).eps  # for two normalised rows, each off by at most half of it
        best = count + 2  # may include the row itself and <unk>
        floor = np.full(len(rows), -np.inf, np.float32)  # values below cannot be among the best
        found = _Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        for begin in range(0, len(self.words), _LINES):
            cosines = queries @ self.vectors[begin : begin + _LINES].T
            if begin == 0 and best < cosines.shape[1]:
                floor = np.partition(cosines, -best, axis=1)[:, -best] - rounding
            query, name = np.nonzero(cosines >= floor[:, None])
            found = found.joined(_Found(query, name + begin, cosines[query, name]))
            order, rank = found.ranked()
            full = order[rank == best - 1]
            floor[found.query[full]] = found.cosine[full] - rounding
            found = found.only(found.cosine >= floor[found.query])
        found = found.only((found.name != (-1 if self._unknown is None else self._unknown)) & (found.name != rows[found.query]))
        exact = np.concatenate([np.empty(0), *(
            (np.asarray(self.vectors[rows[part.query]], np.float64) * np.asarray(self.vectors[part.name], np.float64)).sum(1)
            for part in found.parts(_LINES)
        )])  # fmt: skip
        order, rank = _Found(found.query, found.name, exact).ranked()
        order = order[rank < count]
        names = found.name[order].astype(np.int32)
        return np.split(names, np.searchsorted(found.query[order], np.arange(1, len(rows))))


@dataclass(frozen=True)
class _Found:
    """Pairs of a query's index and the row of a nearby word, `[P]` each, with their cosines."""

    query: np.ndarray
    name: np.ndarray
    cosine: np.ndarray

    def joined(self, other: _Found) -> _Found:
        return _Found(*(np.concatenate(both) for both in zip(vars(self).values(), vars(other).values(), strict=True)))

    def only(self, which: np.ndarray) -> _Found:
        return _Found(self.query[which], self.name[which], self.cosine[which])

    def parts(self, size: int) -> Iterator[_Found]:
        return (self.only(slice(begin, begin + size)) for begin in range(0, len(self.query), size))

    def ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs sorted by query, nearest first, ties by row, and the rank of each one in its query, both `[P]`."""
        order = np.lexsort((self.name, -self.cosine, self.query))
        ordered = self.query[order]
        return order, np.arange(len(order)) - np.searchsorted(ordered, ordered)


def open_word_vectors(path: str | Path, most: int = 0) -> WordVectors:
    """The table of a text file (a word and its numbers per line), its first `most` words, or all if 0.

    A first line with two integers, as in fastText and Tencent files, is the count and dimension. Parsed unless an earlier run has
    done so. Words that contain a space are skipped and counted.

    Raises:
        UserError: no such file, a row of another length, or a row with something other than finite numbers; with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--glove_embs {path} is not a file; expected word vectors in text format, such as glove.6B.300d.txt")
    described = {"format": FORMAT, "source_sha256": storage.sha256_of(path), "most": most}
    return open_cached("word_vectors", described, _opened, lambda new: _parse(path, new, most, described))


def _opened(folder: Path) -> WordVectors:
    storage.verify(folder)
    with storage.reading(folder):
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        words = WordIndex.map(folder)
        flat = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        return WordVectors(words, flat.reshape(len(words), meta["dimension"]), meta)


# === Reading the text ===


def _parse(path: Path, new: Path, most: int, described: dict) -> None:
    meta = {**described, "rows": 0, "dimension": 0, "words_with_spaces": 0}
    with open(path, "rb") as file, AppendedArray(new / "vectors.npy", np.float32) as out:
        check_is_text(path, file)
        meta["rows"] = WordIndex.write(new, _blocks(path, file, most, out, meta))
    if not meta["rows"]:
        raise UserError(f"--glove_embs {path} has no rows; expected a word and its numbers on each line")
    if spaced := meta["words_with_spaces"]:
        logger.warning(f"{path}: {spaced} words containing a space were skipped: no sentence has such a word")
    storage.write_json(new / "meta.json", meta)


def _blocks(path: Path, file: BinaryIO, most: int, out: AppendedArray, meta: dict) -> Iterator[list[bytes]]:
    """The words of the file in blocks; their vectors are written to `out`, dimension and number of skipped words to `meta`."""
    number, first = 1, file.readline()
    if (header := first.split()) and len(header) == 2 and all(field.isdigit() for field in header):
        meta["dimension"], number, first = int(header[1]), 2, b""
    lines = islice(chain([first] if first else [], file), most or None)
    while block := list(islice(lines, _LINES)):
        dimension = meta["dimension"] = meta["dimension"] or _dimension(path, block)
        parted = [_part(path, number + i, line, dimension) for i, line in enumerate(block)]
        vectors = _numbers(path, [rest for _, rest in parted], dimension, number)
        kept = [i for i, (word, _) in enumerate(parted) if b" " not in word]
        meta["words_with_spaces"] += len(parted) - len(kept)
        lengths = np.sqrt((vectors**2).sum(1, keepdims=True))
        out.append((vectors / np.where(lengths > 0, lengths, 1))[kept].ravel())
        number += len(block)
        yield [parted[i][0] for i in kept]


def _dimension(path: Path, block: list[bytes]) -> int:
    """The number of values per row: the most frequent count among the first lines, since single words may contain a space."""
    counts = [line.rstrip().count(b" ") for line in block]
    dimension = max(set(counts), key=counts.count)
    if dimension < 1:
        raise UserError(
            f"{path}, line 1: found no numbers, expected a word and its vector, separated by spaces. Is it a text file of word vectors?"
        )
    return dimension


def _part(path: Path, number: int, line: bytes, dimension: int) -> tuple[bytes, bytes]:
    line = line.rstrip()
    parts = line.rsplit(b" ", dimension)
    if len(parts) == dimension + 1:
        word, rest = parts[0], line[len(parts[0]) + 1 :]
        if b" " not in word or not all(_is_number(field) for field in word.split(b" ")[1:]):
            return word, rest
    raise UserError(
        f"{path}, line {number}: found {line.count(b' ')} numbers, expected {dimension} as on the other lines.\n"
        "Is the file complete, with a single dimension? Download it again, or delete the line."
    )


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(path: Path, rows: list[bytes], dimension: int, number: int) -> np.ndarray:
    """The vectors of some lines starting at line `number`, float64 `[n, D]`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # text that is not a number ends the parsing early, which the size reveals
        flat = np.fromstring(b" ".join(rows), np.float64, sep=" ")
    if flat.size == len(rows) * dimension and np.isfinite(flat).all():
        return flat.reshape(len(rows), dimension)
    for i, row in enumerate(rows):
        fields = row.split(b" ")
        bad = next((field for field in fields if not _is_number(field) or not np.isfinite(float(field))), None)
        if bad is not None:
            shown = bad.decode("utf-8", "replace")
            raise UserError(
                f"{path}, line {number + i}: found {shown!r} among the numbers, expected finite numbers. "
                "Delete the line, or download the file again."
            )
    raise UserError(f"{path}, near line {number}: the numbers cannot be read. Is it a text file of word vectors, with single spaces?")
