"""Texts as rows of a masked LM: masked and evaluated positions, batched without padding.

A word is masked in `[CLS] masked sentence [SEP] sentence [SEP]`, as in Huawei's TinyBERT (data_augmentation.py). Without masks one pass
over `[CLS] sentence [SEP]` is used for all words, as in lexical substitution (Zhou et al. 2019, ACL P19-1328).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from paddle import Tensor

from tinybert.models.masked_lm import MaskedLM

BATCH_TOKENS = 2048  # maximum for a forward pass


@dataclass(frozen=True)
class Gap:
    """A word to evaluate: the positions of its tokens, and its index among the results."""

    positions: tuple[int, ...]
    word: int


@dataclass(frozen=True)
class _Row:
    ids: np.ndarray
    second: int  # the start of the second segment
    gaps: list[Gap]


class SentenceReader:
    """Collects texts with `add`, then yields the outputs at their gaps in batches with `outputs`.

    masking: one row per masked word; otherwise one unmasked row per text.
    """

    def __init__(self, model: MaskedLM, masking: bool) -> None:
        self.model, self.tokenizer, self.masking = model, model.tokenizer, masking
        self._rows: dict[tuple[int, int], list[_Row]] = {}  # by length and number of evaluated positions

    def ids(self, pieces: list[int]) -> np.ndarray:
        """[CLS] sentence [SEP], or with masks [CLS] sentence [SEP] sentence [SEP]: int64, truncated to the model's positions as
        published."""
        tokenizer = self.tokenizer
        second = [*pieces, tokenizer.sep_id] if self.masking else []
        return np.array([tokenizer.cls_id, *pieces, tokenizer.sep_id, *second][: self.model.positions], np.int64)

    def longest(self, texts: list[list[int]]) -> list[int]:
        """The number of positions each text, given as tokens, needs without truncation."""
        return [2 * len(pieces) + 3 if self.masking else len(pieces) + 2 for pieces in texts]

    def add(self, pieces: list[int], gaps: list[Gap]) -> None:
        """Add a text by its tokens; gaps beyond the model's positions are skipped."""
        ids = self.ids(pieces)
        gaps = [gap for gap in gaps if gap.positions[-1] < len(ids)]
        for part in [[gap] for gap in gaps] if self.masking else [gaps] if gaps else []:
            key = len(ids), len(part[0].positions) if self.masking else 0
            self._rows.setdefault(key, []).append(_Row(ids, len(pieces) + 2, part))

    def outputs(self) -> Iterator[tuple[list[Gap], Tensor]]:
        """The gaps of a batch and the concatenated outputs of the last layer at their positions: `[P, D]`. Clears the texts."""
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
