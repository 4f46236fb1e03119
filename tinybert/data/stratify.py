"""Chooses the rows that are set aside: groups of rows stay together, and every label keeps its share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

TRAIN, ASIDE = 0, 1


def set_aside(keys: np.ndarray, labels: Sequence[Sequence[int]], share: float, seed: int) -> np.ndarray:
    """Whether each row is set aside, bool `[N]`; it depends on the rows, not on their order.

    keys: uint64 `[N]`, equal for rows that stay together. labels: the labels of each row, any number. share: of all rows, and of the rows
    of each label. Groups are assigned label by label, the one with the fewest groups first, to the side that lacks most rows of the label.
    A label that only one group has stays in training.

    Source: Sechidis et al. 2011, iterative stratification; the wanted numbers of rows are integers here.
    """
    _, group_of = np.unique(keys, return_inverse=True)
    sizes = np.bincount(group_of)
    random = np.random.default_rng(seed)
    order = random.permutation(len(sizes))
    pairs = _Pairs(group_of, labels, order)
    groups_left = np.bincount(pairs.labels, minlength=pairs.width)
    totals = np.bincount(pairs.labels, pairs.counts, pairs.width).astype(np.int64)
    aside = _wanted(totals, groups_left, share, random)
    lacking = np.stack([totals - aside, aside])
    rows_aside = round(share * len(keys))
    room = np.array([len(keys) - rows_aside, rows_aside])
    side_of = np.full(len(sizes), -1, np.int8)

    def assign(group: int, side: int) -> None:
        side_of[group] = side
        room[side] -= sizes[group]
        for label, count in pairs.of_group(group):
            lacking[side, label] -= count
            groups_left[label] -= 1

    while groups_left.any():
        label = int(np.argmin(np.where(groups_left > 0, groups_left, len(keys) + 1)))
        for group in pairs.groups_of(label):
            if side_of[group] < 0:
                need = lacking[:, label] if lacking[TRAIN, label] != lacking[ASIDE, label] else room
                assign(group, int(np.argmax(need)))
    for group in order[side_of[order] < 0]:
        assign(group, int(np.argmax(room)))
    return side_of[group_of] == ASIDE


class _Pairs:
    """Which groups have which labels, and how many rows of a group have a label: three arrays `[P]`, by label and then in `order`."""

    def __init__(self, group_of: np.ndarray, labels: Sequence[Sequence[int]], order: np.ndarray) -> None:
        lengths = np.fromiter(map(len, labels), np.int64, len(labels))
        _, flat = np.unique(np.fromiter(chain.from_iterable(labels), np.int64, int(lengths.sum())), return_inverse=True)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        codes = flat * len(order) + rank[np.repeat(group_of, lengths)]
        found, self.counts = np.unique(codes, return_counts=True)
        self.labels, self.groups = found // len(order), order[found % len(order)]
        self.width = int(flat.max(initial=-1)) + 1
        self._labels_end = np.searchsorted(self.labels, np.arange(self.width + 1))
        self._by_group = np.argsort(self.groups, kind="stable")
        self._groups_end = np.searchsorted(self.groups[self._by_group], np.arange(len(order) + 1))

    def groups_of(self, label: int) -> np.ndarray:
        """The groups that have a label."""
        return self.groups[self._labels_end[label] : self._labels_end[label + 1]]

    def of_group(self, group: int) -> list[tuple[int, int]]:
        """The labels of a group, and how many of its rows have each."""
        at = self._by_group[self._groups_end[group] : self._groups_end[group + 1]]
        return list(zip(self.labels[at].tolist(), self.counts[at].tolist(), strict=True))


def _wanted(totals: np.ndarray, groups: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """How many rows of each label are set aside: the rounded shares whose sum is the share of all (largest remainders)."""
    exact = np.where(groups > 1, share * totals, 0.0)
    wanted = np.floor(exact).astype(np.int64)
    order = random.permutation(len(exact))
    largest = order[np.argsort(-(exact - wanted)[order], kind="stable")]
    wanted[largest[: round(exact.sum()) - wanted.sum()]] += 1
    return wanted
