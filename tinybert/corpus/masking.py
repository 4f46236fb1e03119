"""BERT's masking of tokens in finished rows: 80% [MASK], 10% unchanged, 10% a random token that is not special."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinybert.data.layout import Flat
from tinybert.data.tokenizer import WordPiece


@dataclass(frozen=True)
class Masking:
    """`probability` of the row's length, at least one and at most `most` tokens per row; `whole_word`: all tokens of a word or none.
    At probability 0 nothing is masked, unless `always` requests one token, as published.
    """

    probability: float
    most: int = 20
    whole_word: bool = False
    always: bool = False

    @property
    def active(self) -> bool:
        """Whether any row is changed."""
        return self.most > 0 and (self.probability > 0 or self.always)


@dataclass
class Masked:
    """`places` int64 `[M]`, the masked positions in the rows' values, in order; `labels` `[M]`, the original ids."""

    places: np.ndarray
    labels: np.ndarray


class Pieces:
    """The vocabulary properties needed for masking: `mask_id`, `continuing` (##) and `bounding` ([CLS], [SEP]) bool `[vocabulary]`,
    `ordinary` int64, ids that are not special.
    """

    def __init__(self, tokenizer: WordPiece) -> None:
        special = set(tokenizer.special.values())
        self.mask_id = tokenizer.mask_id
        self.continuing = np.array([token.startswith("##") for token in tokenizer.vocabulary])
        self.bounding = np.zeros(tokenizer.vocab_size, bool)
        self.bounding[[tokenizer.cls_id, tokenizer.sep_id]] = True
        self.ordinary = np.array([i for i, token in enumerate(tokenizer.vocabulary) if token not in special])


def mask(rows: Flat, rule: Masking, pieces: Pieces, vector: np.random.RandomState, goes_on: np.ndarray | None = None) -> Masked:
    """Mask `rows` in place; [CLS] and [SEP] are never masked, even in the text.

    goes_on: bool `[tokens]`, whether a token continues a word, if its spelling (##) does not tell.
    """
    groups = _groups(rows, rule.whole_word, pieces, goes_on)
    limit = np.minimum(rule.most, np.maximum(1, np.rint(rows.lengths * rule.probability)).astype(np.int64))
    row = np.repeat(np.arange(len(rows.lengths)), rows.lengths)
    inside = np.flatnonzero(groups >= 0)
    groups = groups[inside]
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    chosen = _chosen(row[inside[begins]], np.bincount(groups), limit, vector)
    places = inside[chosen[groups]]
    labels = rows.values[places].copy()
    lot = vector.random_sample(len(places))
    anything = pieces.ordinary[vector.randint(0, len(pieces.ordinary), len(places))]
    rows.values[places] = np.where(lot < 0.8, pieces.mask_id, np.where(lot < 0.9, labels, anything))
    return Masked(places, labels)


def _groups(rows: Flat, whole_word: bool, pieces: Pieces, goes_on: np.ndarray | None) -> np.ndarray:
    """The number of each token's group, in order of appearance, -1 for [CLS] and [SEP], int64 `[tokens]`."""
    special = pieces.bounding[rows.values]
    begins = ~special
    if whole_word:
        goes_on = (pieces.continuing[rows.values] if goes_on is None else goes_on) & ~special
        goes_on[1:] &= ~special[:-1]
        begins &= ~goes_on
    return np.where(special, -1, np.cumsum(begins) - 1)


def _chosen(row: np.ndarray, sizes: np.ndarray, limit: np.ndarray, vector: np.random.RandomState) -> np.ndarray:
    """Which groups are masked, bool `[groups]`: drawn one by one in each row, skipping those that exceed the row's limit.

    row: of each group, ascending. sizes: tokens per group. limit: tokens per row.
    """
    counts = np.bincount(row, minlength=len(limit))
    starts = np.cumsum(counts) - counts
    drawn, chosen = np.zeros(len(row), bool), np.zeros(len(row), bool)
    tries, taken = np.zeros(len(limit), np.int64), np.zeros(len(limit), np.int64)
    active = np.flatnonzero(counts)
    while len(active):
        group = starts[active] + (vector.random_sample(len(active)) * counts[active]).astype(np.int64)
        new = ~drawn[group]  # the others are drawn again in the next round
        group, rows = group[new], active[new]
        drawn[group] = True
        tries[rows] += 1
        fits = taken[rows] + sizes[group] <= limit[rows]
        chosen[group[fits]] = True
        taken[rows[fits]] += sizes[group[fits]]
        active = active[(taken[active] < limit[active]) & (tries[active] < counts[active])]
    return chosen


def by_row(masked: Masked, rows: Flat) -> list[tuple[list[int], list[int]]]:
    """Positions within the row, and labels, for each row."""
    ends = np.searchsorted(masked.places, rows.starts + rows.lengths)
    begins = np.searchsorted(masked.places, rows.starts)
    places, labels = masked.places - np.repeat(rows.starts, ends - begins), masked.labels
    return [(places[a:b].tolist(), labels[a:b].tolist()) for a, b in zip(begins, ends, strict=True)]
