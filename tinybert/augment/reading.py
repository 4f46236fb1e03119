"""Texts as rows of a masked LM: which positions are masked and read, batched so that nothing is padded.

A word is masked in `[CLS] masked sentence [SEP] sentence [SEP]`, as in Huawei's TinyBERT (data_augmentation.py). Without masks one pass
over `[CLS] sentence [SEP]` serves all words, as in lexical substitution (Zhou et al. 2019, ACL P19-1328).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from paddle import Tensor

from tinybert.models.masked_lm import MaskedLM

BATCH_TOKENS = 2048  # a forward pass reads at most so many


@dataclass(frozen=True)
class Gap:
    """One word to be read: the positions of its pieces, and its number among the results."""

    positions: tuple[int, ...]
    word: int


@dataclass(frozen=True)
class _Row:
    ids: np.ndarray
    second: int  # where the second segment begins
    gaps: list[Gap]


class SentenceReader:
    """Collects texts with `add`, then gives the outputs at their gaps, batch by batch, with `outputs`.

    masking: each word is masked in a row of its own; without it none is, and a text is one row.
    """

    def __init__(self, model: MaskedLM, masking: bool) -> None:
        self.model, self.tokenizer, self.masking = model, model.tokenizer, masking
        self._rows: dict[tuple[int, int], list[_Row]] = {}  # by length and positions read

    def ids(self, pieces: list[int]) -> np.ndarray:
        """[CLS] sentence [SEP], with masks [CLS] sentence [SEP] sentence [SEP]: int64, cut at the model's last position as published."""
        tokenizer = self.tokenizer
        second = [*pieces, tokenizer.sep_id] if self.masking else []
        return np.array([tokenizer.cls_id, *pieces, tokenizer.sep_id, *second][: self.model.positions], np.int64)

    def longest(self, texts: list[list[int]]) -> list[int]:
        """How many positions each text, as word pieces, needs to be read whole."""
        return [2 * len(pieces) + 3 if self.masking else len(pieces) + 2 for pieces in texts]

    def add(self, pieces: list[int], gaps: list[Gap]) -> None:
        """A text by its word pieces; gaps beyond the model's positions are left out."""
        ids = self.ids(pieces)
        gaps = [gap for gap in gaps if gap.positions[-1] < len(ids)]
        for part in [[gap] for gap in gaps] if self.masking else [gaps] if gaps else []:
            key = len(ids), len(part[0].positions) if self.masking else 0
            self._rows.setdefault(key, []).append(_Row(ids, len(pieces) + 2, part))

    def outputs(self) -> Iterator[tuple[list[Gap], Tensor]]:
        """The gaps of a batch and the last layer's outputs at their positions, one gap after another: `[P, D]`. Forgets the texts."""
        rows, self._rows = self._rows, {}
        for (length, _), group in sorted(rows.items(), key=lambda item: item[0]):
            size = max(1, BATCH_TOKENS // length)
            for begin in range(0, len(group), size):
                part = group[begin : begin + size]
                yield [gap for row in part for gap in row.gaps], self._read(part)

    def _read(self, rows: list[_Row]) -> Tensor:
        ids = np.stack([row.ids for row in rows])
        at = [[position for gap in row.gaps for position in gap.positions] for row in rows]
        of = np.repeat(np.arange(len(rows)), [len(positions) for positions in at])
        flat = np.concatenate(at)
        if self.masking:
            ids[of, flat] = self.tokenizer.mask_id
        segments = (np.arange(ids.shape[1]) >= np.array([[row.second] for row in rows])).astype(np.int64)
        return self.model.hidden(ids, segments, of, flat)
