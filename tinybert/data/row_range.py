"""A range of rows of a token store as its own store."""

from __future__ import annotations

import numpy as np

from tinybert.data.store import Rows
from tinybert.errors import UserError


class RowRange(Rows):
    """The rows `begin` to `end` of a store, for `Batches`; no data is copied except for `lengths` and `first`."""

    def __init__(self, store: Rows, begin: int, end: int) -> None:
        self.store, self.begin = store, begin
        self.pad_id, self.meta = store.pad_id, store.meta
        self.lengths, self.first = store.lengths[begin:end], store.first[begin:end]
        self.labels = None if store.labels is None else store.labels[begin:end]

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """The concatenated ids of several rows `[B]`: `[tokens]`."""
        return self.store.tokens(np.asarray(rows) + self.begin)


def without_last(store: Rows, count: int) -> tuple[RowRange, RowRange]:
    """Split a store into training rows and the last `count` rows (at most a tenth), which are held out.

    Raises:
        UserError: fewer than two rows.
    """
    rows = len(store)
    if rows < 2:
        raise UserError(f"there are {rows} sequences; at least one is needed for training and one to hold out.\nGive more text.")
    cut = rows - max(1, min(count, rows // 10))
    return RowRange(store, 0, cut), RowRange(store, cut, rows)
