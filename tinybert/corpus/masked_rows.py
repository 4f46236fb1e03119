"""Rows of text with some tokens masked, differently in every epoch: the training data of a masked LM."""

from __future__ import annotations

import numpy as np

from tinybert import runtime
from tinybert.corpus.masking import Masking, Pieces, mask
from tinybert.data.layout import Flat
from tinybert.data.store import Rows

IGNORED = -100  # the label of tokens that are not predicted, as in other frameworks


class MaskedRows(Rows):
    """Rows of a store for `Batches`, masked when they are read.

    Masks depend only on (seed, epoch, the rows that are read together), so a resumed run gets the same ones. vocab_size: ids from there
    on mark continuations of a word, see `WholeWords`.
    """

    def __init__(self, store: Rows, rule: Masking, pieces: Pieces, vocab_size: int, seed: int, epoch: int) -> None:
        self.store, self.rule, self.pieces, self.vocab_size = store, rule, pieces, vocab_size
        self.seed, self.epoch = seed, epoch
        self.lengths, self.first, self.pad_id, self.meta = store.lengths, store.first, store.pad_id, store.meta

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """The concatenated masked ids of several rows `[B]`: `[tokens]`."""
        return self.tokens_and_labels(rows)[0]

    def tokens_and_labels(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same, and the original ids at masked positions, `IGNORED` elsewhere, both `[tokens]`."""
        stored = self.store.tokens(rows).astype(np.int64)
        flat = Flat(stored % self.vocab_size, self.lengths[rows].astype(np.int64))
        vector = runtime.random_stream(self.seed, self.epoch, *map(int, rows))
        goes_on = stored >= self.vocab_size
        masked = mask(flat, self.rule, self.pieces, vector, goes_on if goes_on.any() else None)
        labels = np.full(len(stored), IGNORED, np.int64)
        labels[masked.places] = masked.labels
        return flat.values, labels
