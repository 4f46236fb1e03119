"""Nearest words equal a full sort in float64 for any block size, query set and ties."""

from __future__ import annotations

import numpy as np
import pytest

from tinybert.augment import word_vectors
from tinybert.augment.word_index import WordIndex
from tinybert.augment.word_vectors import UNKNOWN, WordVectors

WORDS = 300
COUNT = 7


@pytest.fixture(scope="module")
def table() -> WordVectors:
    """Words in groups that are closer together than float32 resolves, one of them twice, one zero vector."""
    random = np.random.default_rng(0)
    vectors = np.repeat(random.standard_normal((WORDS // 10, 8)), 10, axis=0) + 1e-7 * random.standard_normal((WORDS, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[50] = vectors[51]
    vectors[7] = 0
    names = [f"w{i}" for i in range(WORDS)]
    names[3] = UNKNOWN
    return WordVectors(WordIndex.of(names), vectors.astype(np.float32), {})


def sorted_in_full(table: WordVectors, row: int) -> list[int]:
    exact = np.asarray(table.vectors, np.float64)
    cosines = (exact * exact[row]).sum(1)
    order = np.lexsort((np.arange(WORDS), -cosines))
    return [i for i in order.tolist() if i not in (row, 3)][:COUNT]


@pytest.mark.parametrize("lines", [16, 64, WORDS])
def test_blockwise_neighbours_equal_a_full_sort(table, lines, monkeypatch):
    monkeypatch.setattr(word_vectors, "_LINES", lines)
    monkeypatch.setattr(word_vectors, "_QUERIES", 32)
    table.forget()
    rows = [row for row in range(WORDS) if row != 3]
    near = table.neighbours(rows, COUNT)
    assert all(near[row].tolist() == sorted_in_full(table, row) for row in rows)


def test_asking_for_more_neighbours_than_words_returns_all_words(table):
    near = WordVectors(WordIndex.of(["a", UNKNOWN, "b"]), np.eye(3, dtype=np.float32), {}).neighbours([0, 2], 5)
    assert [names.tolist() for names in near.values()] == [[2], [0]]
