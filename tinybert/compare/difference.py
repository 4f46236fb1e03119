"""The uncertainty of the difference between two models, or two groups of seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 200
Scorer = Callable[[np.ndarray], float]


def standard_error(first: Sequence[Scorer], second: Sequence[Scorer], count: int) -> float:
    """The standard error of the mean score of `first` minus that of `second`, by a paired bootstrap over `count` dev rows and the seeds.

    first, second: for each seed (the same in both), the score of a model on rows given by their numbers. Source: Efron and
    Tibshirani 1993, chapter 6.
    """
    draw = np.random.default_rng(0)
    differences = []
    for _ in range(RESAMPLES):
        rows, seeds = draw.integers(count, size=count), draw.integers(len(first), size=len(first))
        differences.append(np.mean([first[seed](rows) - second[seed](rows) for seed in seeds]))
    return float(np.std(differences, ddof=1))
