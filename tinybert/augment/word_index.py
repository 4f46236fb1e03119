"""Words by row and rows by word; on disk four memory-mapped arrays, so that millions of words need no memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.data.appending import AppendedArray

_NAMES = ("text", "ends", "hashes", "order")


@dataclass(frozen=True)
class WordIndex:
    """`index[row]` is a word, `index.row(word)` its first row.

    text: uint8, all words in UTF-8. ends: int64 `[V]`, where each ends. hashes: uint64 `[V]`, ascending. order: int64 `[V]`, their rows.
    """

    text: np.ndarray
    ends: np.ndarray
    hashes: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, words: Iterable[str]) -> WordIndex:
        """An index in memory."""
        encoded = [word.encode("utf-8", "surrogatepass") for word in words]
        ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends, *_sorted([_hash(word) for word in encoded]))

    @classmethod
    def write(cls, folder: Path, words: Iterator[list[bytes]]) -> int:
        """Write blocks of words in UTF-8 for `map`; returns their number."""
        hashes = array("Q")
        with AppendedArray(folder / "text.npy", np.uint8) as text, AppendedArray(folder / "ends.npy", np.int64) as ends:
            for block in words:
                hashes.extend(map(_hash, block))
                ends.append(text.count + np.cumsum([len(word) for word in block], dtype=np.int64))
                text.append(np.frombuffer(b"".join(block), np.uint8))
        for name, values in zip(_NAMES[2:], _sorted(hashes), strict=True):
            np.save(folder / f"{name}.npy", values)
        return len(hashes)

    @classmethod
    def map(cls, folder: Path) -> WordIndex:
        """Memory-map the output of `write`."""
        return cls(*(np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in _NAMES))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        return bytes(self.text[self.ends[row - 1] if row else 0 : self.ends[row]]).decode("utf-8", "replace")

    def row(self, word: str) -> int | None:
        """The first row of a word, or None."""
        at = int(np.searchsorted(self.hashes, wanted := np.uint64(_hash(word.encode("utf-8", "surrogatepass")))))
        while at < len(self.hashes) and self.hashes[at] == wanted:
            if self[row := int(self.order[at])] == word:
                return row
            at += 1
        return None


def _hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


def _sorted(hashes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(hashes, np.uint64)
    order = np.argsort(values, kind="stable")
    return values[order], order
