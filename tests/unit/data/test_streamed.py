"""Streamed rows: every row once per epoch, in an order that depends on seed and epoch, in memory that does not grow with the rows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tinybert.data.batches import Batches
from tinybert.data.permutation import Permutation, ShuffledRows
from tinybert.data.store import TokenStore
from tinybert.data.streamed import StreamedStore


def made(rows: int, seed: int = 0) -> TokenStore:
    """A store whose row i repeats the number i modulo 1,000."""
    lengths = np.random.default_rng(seed).integers(2, 12, rows)
    return TokenStore.from_arrays([[i % 1000] * length for i, length in enumerate(lengths)], pad_id=0)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 97, 1024, 4999])
def test_permutation_has_every_place_once(count):
    order = Permutation(count, np.random.RandomState(1))
    places = order[np.arange(count)]
    assert sorted(places.tolist()) == list(range(count))
    assert [order[i] for i in range(min(count, 20))] == places[:20].tolist()


def test_permutation_looks_random_and_depends_on_its_seed():
    first, other = (Permutation(100_000, np.random.RandomState(seed))[np.arange(100_000)] for seed in (1, 2))
    assert (first == other).mean() < 1e-3
    for found in (first, other):
        assert abs(np.corrcoef(np.arange(100_000), found)[0, 1]) < 0.02
        assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
        halves = [np.mean(part < 50_000) for part in np.split(found, 20)]
        assert min(halves) > 0.46 and max(halves) < 0.54


def test_shuffled_rows_are_sorted_within_chunks_only():
    lengths = np.random.default_rng(3).integers(1, 50, 1000)
    rows = ShuffledRows(1000, 990, 100, np.random.RandomState(0), lambda some: some[np.argsort(lengths[some], kind="stable")])
    found = np.concatenate([rows[slice(begin, begin + 10)] for begin in range(0, 1000, 10)])
    assert len(found) == len(set(found.tolist())) == 990
    for begin in range(0, 990, 100):
        assert (np.diff(lengths[found[begin : begin + 100]]) >= 0).all()
    assert (np.diff(lengths[found]) < 0).any()


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize(("rows", "drop_last"), [((5,), False), ((60, 41), False), ((60, 41), True), ((7, 300, 1), False)])
def test_every_streamed_row_is_in_an_epoch_exactly_once(rows, drop_last, bucket):
    stores = [made(count, seed) for seed, count in enumerate(rows)]
    store = StreamedStore(stores)
    batches = Batches(store, 4, seed=3, accumulation=2, bucket=bucket, drop_last=drop_last)
    seen = []
    for epoch in (0, 1):
        order = [row for index in range(batches.steps_per_epoch) for batch in batches.step(epoch, index) for row in batch.rows.tolist()]
        assert len(order) == len(set(order)) == (sum(rows) // 8 * 8 if drop_last and sum(rows) >= 8 else sum(rows))
        seen.append(order)
    assert seen[0] != seen[1] or sum(rows) < 6
    whole = np.concatenate([each.lengths for each in stores])
    for batch in batches.step(0, 0):
        assert batch.labels is None
        assert (batch.attention_mask.sum(1) == whole[batch.rows]).all()
        for row, ids, mask in zip(batch.rows, batch.input_ids, batch.attention_mask, strict=True):
            which = np.searchsorted(store.begins, row, "right") - 1
            assert ids[mask > 0].tolist() == stores[which].row(row - store.begins[which]).tolist()


def test_streamed_batches_depend_only_on_seed_epoch_and_step():
    store = StreamedStore([made(300)])
    one, other = Batches(store, 4, seed=3), Batches(store, 4, seed=3)
    for index in (5, 0, 70):
        assert (one.step(2, index)[0].rows == other.step(2, index)[0].rows).all()
    assert (one.step(0, 0)[0].rows != Batches(store, 4, seed=4).step(0, 0)[0].rows).any()


def test_ranks_of_streamed_rows_share_every_step():
    store = StreamedStore([made(101)])
    ranks = [Batches(store, 4, seed=1, rank=rank, world=3) for rank in range(3)]
    seen = [row for i in range(ranks[0].steps_per_epoch) for rank in ranks for b in rank.step(0, i) if b.share["rows"] for row in b.rows]
    assert sorted(seen) == list(range(101))


def test_memory_of_streamed_batches_does_not_grow_with_the_rows(tmp_path):
    def on_disk(rows: int) -> TokenStore:
        """A store of this many rows of six tokens."""
        folder = tmp_path / str(rows)
        folder.mkdir()
        arrays = {}
        for name, size, dtype in (("ids", 6 * rows, "uint16"), ("offsets", rows + 1, "int64"), ("first", rows, "uint16")):
            arrays[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (size,))
        for begin in range(0, rows, 50_000):  # in parts: this memory is counted too
            end = min(begin + 50_000, rows)
            arrays["ids"][6 * begin : 6 * end], arrays["first"][begin:end] = 7, 6
            arrays["offsets"][begin + 1 : end + 1] = 6 * np.arange(begin + 1, end + 1)
        return TokenStore(arrays["ids"], arrays["offsets"], arrays["first"], None, {"length_histogram": [0] * 6 + [rows]})

    def peak(rows: int) -> int:
        tracemalloc.start()
        store = on_disk(rows)
        store.check()
        batches = Batches(StreamedStore([store]), 32, seed=1)
        for epoch in range(2):
            for index in (0, 1, batches.steps_per_epoch - 1):
                batches.step(epoch, index)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)
    small, large = peak(200_000), peak(2_000_000)
    assert large < 1.2 * small + 1e6, (small, large)
