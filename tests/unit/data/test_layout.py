"""Truncation equals BERT's, row by row."""

import numpy as np
import pytest

from tinybert.data.appending import AppendedArray
from tinybert.data.layout import Flat, bert_rows, kept_lengths, positions

CLS, SEP = 101, 102


def popped(a, b, budget):
    """The loop of the published scripts."""
    a, b = list(a), list(b)
    while len(a) + len(b) > budget:
        (a if len(a) > len(b) else b).pop()
    return a, b


def test_kept_lengths_equal_the_published_truncation_loop():
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(12), np.arange(12)))
    for budget in range(16):
        expected = [tuple(map(len, popped(range(x), range(y), budget))) for x, y in zip(a, b, strict=True)]
        assert list(zip(*kept_lengths(a, b, budget), strict=True)) == expected


@pytest.mark.parametrize("seed", range(5))
def test_pair_rows_equal_the_published_format(seed):
    random = np.random.default_rng(seed)
    limit = int(random.integers(3, 40))
    first = [random.integers(200, 999, random.integers(0, 50)).tolist() for _ in range(50)]
    second = [random.integers(200, 999, random.integers(0, 50)).tolist() for _ in range(50)]
    rows, segment, cut = bert_rows(Flat.of(first), Flat.of(second), limit, CLS, SEP)
    expected = [popped(a, b, limit - 3) for a, b in zip(first, second, strict=True)]
    flat = [[CLS, *a, SEP, *b, SEP] for a, b in expected]
    assert rows.values.tolist() == sum(flat, [])
    assert rows.lengths.tolist() == list(map(len, flat)) and max(map(len, flat)) <= limit
    assert segment.tolist() == [len(a) + 2 for a, _ in expected]
    assert cut == sum((a, b) != kept for a, b, kept in zip(first, second, expected, strict=True))


def test_single_rows_are_truncated_at_the_end():
    rows, segment, cut = bert_rows(Flat.of([[1, 2, 3], [], [4, 5]]), None, 4, CLS, SEP)
    assert rows.values.tolist() == [CLS, 1, 2, SEP, CLS, SEP, CLS, 4, 5, SEP]
    assert segment.tolist() == rows.lengths.tolist() == [4, 2, 4] and cut == 1


def test_empty_rows_have_no_positions():
    assert positions(np.array([5, 9, 0]), np.array([2, 0, 3])).tolist() == [5, 6, 0, 1, 2]
    assert positions(np.array([3]), np.array([0])).tolist() == []


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.float32])
def test_appended_array_file_loads_with_numpy(tmp_path, dtype):
    with AppendedArray(tmp_path / "x.npy", dtype) as out:
        out.append(np.arange(5))
        out.append(np.arange(0))
        out.append(np.arange(70000) % 60000)
    for mode in (None, "r"):
        loaded = np.load(tmp_path / "x.npy", mmap_mode=mode)
        assert loaded.dtype == dtype and loaded.tolist() == [*range(5), *(np.arange(70000) % 60000)]
