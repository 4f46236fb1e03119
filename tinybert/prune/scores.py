"""Selects heads and neurons by the importance of their weights."""

from __future__ import annotations

import numpy as np


def head_scores(output: np.ndarray, head_size: int) -> np.ndarray:
    """The score of each head `[h]`: the importance of the attention's output matrix `[h * head size, d]`, summed over the head's rows.

    Source: llyx97/Rosita, its pruning script; queries, keys and values do not count.
    """
    return output.astype(np.float64).reshape(-1, head_size * output.shape[1]).sum(1)


def neuron_scores(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """The score of each feed-forward neuron `[f]`: the importance of its column of the first matrix `[d, f]` and its row of the second."""
    return inner.astype(np.float64).sum(0) + outer.astype(np.float64).sum(1)


def strongest(scores: np.ndarray, keep: int) -> np.ndarray:
    """The indices of the `keep` highest scores, highest first; of equal scores the first."""
    return np.argsort(-scores, kind="stable")[:keep]
