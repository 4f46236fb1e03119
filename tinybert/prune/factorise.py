"""Low-rank factorisation of a word embedding."""

from __future__ import annotations

import numpy as np

_CHUNK = 4096  # rows in float64 at a time


def truncated(table: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The best rank-r approximation of a table `[V, d]`: factors U_r S_r `[V, r]` and V_r^T `[r, d]`, and the share of squares kept.

    The right singular vectors are the eigenvectors of table^T table, which is only d x d and takes seconds, while a full decomposition
    needs a V x V matrix. Signs are fixed by making each vector's largest entry positive.

    Source: ROSITA (Liu et al. 2021), its factorised embedding; optimality: Eckart and Young 1936.
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
