"""Several token stores as one."""

from __future__ import annotations

import numpy as np

from tinybert.data.store import Rows, TokenStore


class ConcatenatedStore(Rows):
    """The concatenated rows of several stores, for `Batches`; no labels.

    Lengths and first segments (6 bytes per row) are in memory, ids stay on disk. `stores` must have the same `pad_id`.
    """

    def __init__(self, stores: list[TokenStore], meta: dict) -> None:
        self.stores, self.meta = stores, meta
        self.pad_id = stores[0].pad_id
        self.begins = np.concatenate([[0], np.cumsum([len(store) for store in stores])])
        self.lengths = np.concatenate([store.lengths for store in stores])
        self.first = np.concatenate([store.first for store in stores])

    def _place(self, row: int) -> tuple[TokenStore, int]:
        at = int(np.searchsorted(self.begins, row, "right")) - 1
        return self.stores[at], row - int(self.begins[at])

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """The concatenated ids of several rows `[B]`: `[tokens]`."""
        places = [self._place(int(row)) for row in rows]
        return np.concatenate([store.row(row) for store, row in places]) if places else self.stores[0].ids[:0]
