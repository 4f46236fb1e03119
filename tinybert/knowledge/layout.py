"""How the knowledge of some rows lies in a file: which arrays, how many numbers in each, how many bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinybert.data.store import TokenStore
from tinybert.knowledge.selection import Selection

VALUES = np.dtype(np.float16)
LOGITS = np.dtype(np.float32)


@dataclass(frozen=True)
class Layout:
    """Types and sizes of stored knowledge.

    width: D of the teacher; outputs: C; length: the longest row possible. Positions and indices take the smallest type that holds them.
    """

    selection: Selection
    width: int
    outputs: int
    length: int

    @property
    def positions(self) -> np.dtype:
        """Type of a position in a row; the number of a row's positions fits too."""
        return np.dtype(np.uint8 if self.length < 256 else np.uint16)

    @property
    def indices(self) -> np.dtype:
        """Type of an index into the flat `[K, D]` hidden entries of a row."""
        keep = self.selection.tokens.keep if self.selection.tokens.scheme != "none" else None
        return np.dtype(np.uint16 if (keep or self.length) * self.width <= 65536 else np.uint32)

    def counts(self, store: TokenStore, begin: int, end: int) -> np.ndarray:
        """How many positions are chosen of each of these rows, int64 `[end - begin]`."""
        lengths = store.lengths[begin:end].astype(np.int64)
        tokens = self.selection.tokens
        if tokens.scheme != "attention_no_sep":
            return tokens.counts(lengths, np.zeros_like(lengths))
        offsets = np.asarray(store.offsets[begin : end + 1])
        found = np.asarray(store.ids[offsets[0] : offsets[-1]]) == tokens.sep_id
        before = np.concatenate([[0], np.cumsum(found)])[offsets - offsets[0]]
        return tokens.counts(lengths, np.diff(before))

    def bytes(self, counts: np.ndarray) -> int:
        """Bytes of rows with so many chosen positions."""
        entry = VALUES.itemsize + (self.indices.itemsize if self.selection.width.dynamic else 0)
        pair = int(self.selection.width.counts(counts, self.width).sum()) * entry
        if self.selection.tokens.reads_scores:
            pair += int(counts.sum()) * self.positions.itemsize
        own = self.positions.itemsize if self.selection.pairs else 0
        return len(counts) * (own + self.outputs * LOGITS.itemsize) + len(self.selection.pairs) * pair

    def full_bytes(self, store: TokenStore, teacher_layers: int) -> int:
        """Bytes of every hidden state of the teacher at real positions, in the same type: what a selection is a part of."""
        return int(store.lengths.sum(dtype=np.int64)) * (teacher_layers + 1) * self.width * VALUES.itemsize
