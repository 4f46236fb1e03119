"""Chooses the rows that are set aside: groups of rows stay together, and every label keeps its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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
    counts: list[Counter] = [Counter() for _ in sizes]
    for group, names in zip(group_of, labels, strict=True):
        counts[group].update(names)
    random = np.random.default_rng(seed)
    order = random.permutation(len(sizes))
    width = max((label + 1 for names in counts for label in names), default=0)
    groups_of: list[list[int]] = [[] for _ in range(width)]
    totals = np.zeros(width, np.int64)
    for group in order:
        for label, count in counts[group].items():
            groups_of[label].append(group)
            totals[label] += count
    left = np.array([len(groups) for groups in groups_of], np.int64)
    aside = _wanted(totals, left, share, random)
    lacking = np.stack([totals - aside, aside])
    rows_aside = round(share * len(keys))
    room = np.array([len(keys) - rows_aside, rows_aside])
    side_of = np.full(len(sizes), -1)

    def assign(group: int, side: int) -> None:
        side_of[group] = side
        room[side] -= sizes[group]
        for label, count in counts[group].items():
            lacking[side, label] -= count
            left[label] -= 1

    while left.any():
        label = int(np.argmin(np.where(left > 0, left, len(keys) + 1)))
        for group in groups_of[label]:
            if side_of[group] < 0:
                need = lacking[:, label] if lacking[TRAIN, label] != lacking[ASIDE, label] else room
                assign(group, int(np.argmax(need)))
    for group in order:
        if side_of[group] < 0:
            assign(group, int(np.argmax(room)))
    return side_of[group_of] == ASIDE


def _wanted(totals: np.ndarray, groups: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """How many rows of each label are set aside: the rounded shares whose sum is the share of all (largest remainders)."""
    exact = np.where(groups > 1, share * totals, 0.0)
    wanted = np.floor(exact).astype(np.int64)
    order = random.permutation(len(exact))
    largest = order[np.argsort(-(exact - wanted)[order], kind="stable")]
    wanted[largest[: round(exact.sum()) - wanted.sum()]] += 1
    return wanted
