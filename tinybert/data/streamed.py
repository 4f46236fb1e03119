"""Training rows of any number: token stores of which nothing is in memory but the rows of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinybert.data.concatenated import ConcatenatedStore
from tinybert.data.store import TokenStore


class StreamedStore(ConcatenatedStore):
    """The rows of several stores, one after the other, without labels; `lengths` and `first` are read when they are asked for."""

    streamed = True

    def __init__(self, stores: Sequence[TokenStore]) -> None:
        self.stores, self.meta, self.pad_id = list(stores), {}, stores[0].pad_id
        self.begins = np.concatenate([[0], np.cumsum([len(store) for store in stores])])
        longest = max(int(np.flatnonzero(store.length_counts())[-1]) for store in stores)
        self.lengths = RowValues(self.begins, [store.lengths_of for store in stores], longest)
        self.first = RowValues(self.begins, [store.first.__getitem__ for store in stores])

    def __len__(self) -> int:
        return int(self.begins[-1])


class RowValues:
    """One number per row of several stores, read by rows; `highest`: the result of `max`."""

    def __init__(self, begins: np.ndarray, readers: Sequence[Callable[[np.ndarray], np.ndarray]], highest: int | None = None) -> None:
        self.begins, self.readers, self.highest = begins, readers, highest

    def __len__(self) -> int:
        return int(self.begins[-1])

    def max(self) -> int | None:
        """The highest value, if it is known."""
        return self.highest

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        found = np.empty(rows.shape, np.int64)
        which = np.searchsorted(self.begins, rows, "right") - 1
        for store in np.unique(which):
            mine = which == store
            found[mine] = self.readers[store](rows[mine] - self.begins[store])
        return found
