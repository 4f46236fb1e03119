"""Combines token ids of one or two texts to a BERT row: truncated, then [CLS] A [SEP] or [CLS] A [SEP] B [SEP]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Flat:
    """Concatenated rows of different lengths: `values` `[tokens]`, `lengths` int64 `[N]`."""

    values: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, rows: list[list[int]]) -> Flat:
        """From lists of ids."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        values = np.fromiter((i for row in rows for i in row), np.int64, int(lengths.sum()))
        return cls(values, lengths)

    @property
    def starts(self) -> np.ndarray:
        """The start of each row in `values`, int64 `[N]`."""
        return np.cumsum(self.lengths) - self.lengths


def positions(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The concatenated indices start, start + 1, ... of every row, int64 `[sum(counts)]`."""
    counts = counts.astype(np.int64, copy=False)
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()), dtype=np.int64)


def kept_lengths(first: np.ndarray, second: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens of each text remain when tokens are dropped one by one from the end of the longer text, `[N]` and `[N]`.

    Of equally long texts the second one is shortened. This is BERT's `_truncate_seq_pair` in closed form: the longer text is shortened
    until both are equally long, then they alternate, starting with the second.
    """
    excess = np.maximum(first + second - budget, 0)
    levelling = np.minimum(excess, np.abs(first - second))
    turns = excess - levelling
    keep_first = first - np.where(first > second, levelling, 0) - turns // 2
    keep_second = second - np.where(first > second, 0, levelling) - (turns + 1) // 2
    return keep_first, keep_second


def bert_rows(a: Flat, b: Flat | None, max_length: int, cls_id: int, sep_id: int) -> tuple[Flat, np.ndarray, int]:
    """Assemble rows of at most `max_length` tokens.

    Returns the rows, the number of tokens in each row's first segment (including [CLS] and its [SEP], int64 `[N]`), and the number of
    truncated rows.
    """
    if b is None:
        keep_a, keep_b = np.minimum(a.lengths, max_length - 2), np.zeros_like(a.lengths)
        lengths = keep_a + 2
        cut = int((keep_a < a.lengths).sum())
    else:
        keep_a, keep_b = kept_lengths(a.lengths, b.lengths, max_length - 3)
        lengths = keep_a + keep_b + 3
        cut = int(((keep_a < a.lengths) | (keep_b < b.lengths)).sum())
    rows = Flat(np.full(int(lengths.sum()), sep_id, np.int64), lengths)
    starts = rows.starts
    rows.values[starts] = cls_id
    rows.values[positions(starts + 1, keep_a)] = a.values[positions(a.starts, keep_a)]
    if b is not None:
        rows.values[positions(starts + keep_a + 2, keep_b)] = b.values[positions(b.starts, keep_b)]
    return rows, keep_a + 2, cut
