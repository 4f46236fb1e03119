"""The positions of a batch's outputs among those of all rows: one per row, per word, or per token."""

from __future__ import annotations

import numpy as np

from tinybert.data.batches import Batch
from tinybert.data.layout import positions
from tinybert.data.store import Rows


class OutputPlaces:
    """The order of the outputs of `rows`: one per row, one per word with a token (tagged words), or one per token (windows).

    count: the number of outputs of all rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._words, self._windows = rows.words, rows.windows
        if self._words is not None:
            self._starts = self._words.places
        elif self._windows is not None:
            self._starts = np.asarray(rows.offsets)
        else:
            self._starts = np.arange(len(rows) + 1)
        self.count = int(self._starts[-1])

    def of(self, batch: Batch) -> np.ndarray:
        """The positions of a batch's outputs, int64 `[n]`."""
        return positions(self._starts[batch.rows], self._starts[batch.rows + 1] - self._starts[batch.rows])

    def select(self, batch: Batch, logits: np.ndarray) -> np.ndarray:
        """The outputs `[n, C]` among the logits `[B, C]` or `[B, T, C]` of a batch."""
        if self._words is not None:
            return logits[batch.labels >= 0]
        return logits[batch.attention_mask > 0] if self._windows is not None else logits
