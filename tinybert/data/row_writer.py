"""Appends rows of token ids to the arrays of a token store."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

import numpy as np

from tinybert.data.appending import AppendedArray
from tinybert.data.layout import Flat


class RowWriter:
    """Open a folder, `append` rows, leave the block: `ids.npy`, `offsets.npy`, `first.npy` and, if it has a type, `labels.npy`."""

    def __init__(
        self, folder: Path, vocab_size: int, max_seq_length: int, label_type: type | None = None, more: dict[str, type] | None = None
    ) -> None:
        self.rows = self.tokens = 0
        self.histogram = np.zeros(max_seq_length + 1, np.int64)
        self._files = contextlib.ExitStack()
        width = np.uint16 if max_seq_length < 65536 else np.int32
        self._ids = self._open(folder / "ids.npy", id_type(vocab_size))
        self._offsets = self._open(folder / "offsets.npy", np.int64)
        self._first = self._open(folder / "first.npy", width)
        self._labels = None if label_type is None else self._open(folder / "labels.npy", label_type)
        self._more = {name: self._open(folder / f"{name}.npy", dtype) for name, dtype in (more or {}).items()}
        self._offsets.append(np.zeros(1, np.int64))

    def _open(self, path: Path, dtype: type) -> AppendedArray:
        return self._files.enter_context(AppendedArray(path, dtype))

    def append(self, rows: Flat, first: np.ndarray, labels: np.ndarray | None = None, **more: np.ndarray) -> None:
        """Append rows, the length of each one's first segment `[N]` and, if the writer has them, labels `[N]` and further arrays by
        name."""
        self._ids.append(rows.values)
        self._offsets.append(self.tokens + np.cumsum(rows.lengths))
        self._first.append(first)
        if self._labels is not None:
            self._labels.append(np.asarray(labels).reshape(-1))
        for name, array in more.items():
            self._more[name].append(array)
        self.rows += len(rows.lengths)
        self.tokens += len(rows.values)
        self.histogram += np.bincount(rows.lengths, minlength=len(self.histogram))

    def counts(self) -> dict:
        """The size entries of a store's `meta.json`."""
        return {"rows": self.rows, "tokens": self.tokens, "length_histogram": self.histogram.tolist()}

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.close()


def id_type(vocab_size: int) -> type:
    """The smallest integer type for the ids of a vocabulary."""
    return np.uint16 if vocab_size < 65536 else np.int32
