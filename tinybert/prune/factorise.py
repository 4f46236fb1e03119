"""A word embedding as the product of two thin matrices."""

from __future__ import annotations

import numpy as np

_CHUNK = 4096  # rows that are held in float64 at a time


def truncated(table: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The best approximation of a table `[V, d]` by rank r: factors U_r S_r `[V, r]` and V_r^T `[r, d]`, and the share of squares kept.

    The right singular vectors are the eigenvectors of table^T table, which is only d x d: seconds for a vocabulary, where a full
    decomposition needs a V x V matrix. Each vector's largest entry is made positive, so that signs are settled.

    Source: ROSITA (Liu et al. 2021), its factorised embedding; that no other factors of rank r come closer: Eckart and Young 1936.
    """
    gram = np.zeros((table.shape[1],) * 2)
    for begin in range(0, len(table), _CHUNK):
        rows = table[begin : begin + _CHUNK].astype(np.float64)
        gram += rows.T @ rows
    values, vectors = np.linalg.eigh(gram)  # ascending
    values = np.maximum(values[::-1], 0.0)
    vectors = vectors[:, ::-1][:, :rank]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(rank)])
    factor = np.empty((len(table), rank), np.float32)
    for begin in range(0, len(table), _CHUNK):
        factor[begin : begin + _CHUNK] = table[begin : begin + _CHUNK].astype(np.float64) @ vectors
    total = values.sum()
    kept = float(values[:rank].sum() / total) if total > 0 else 1.0
    return factor, np.ascontiguousarray(vectors.T, np.float32), kept
