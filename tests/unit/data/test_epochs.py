"""Rows that change from epoch to epoch: every row once per epoch, and random access to any step."""

from __future__ import annotations

import numpy as np
import pytest

from tinybert.data.epochs import EpochBatches
from tinybert.data.row_range import RowRange, without_last
from tinybert.data.store import TokenStore
from tinybert.errors import UserError


def store(rows: int, first: int = 0) -> TokenStore:
    """Rows of different lengths; each starts with a unique number."""
    return TokenStore.from_arrays([[first + row, *range(1, 2 + row % 4)] for row in range(rows)])


def seen(batches: EpochBatches, epoch: int, steps: int) -> list[int]:
    return [int(ids[0]) for index in range(steps) for batch in batches.step(epoch, index) for ids in batch.input_ids]


def test_each_epoch_reads_every_row_of_its_own_store():
    batches = EpochBatches([store(7), store(11, 100)], 4, seed=1)
    assert sorted(seen(batches, 0, 2)) == list(range(7))
    assert sorted(seen(batches, 1, 3)) == list(range(100, 111))
    third = seen(batches, 2, 2)
    assert sorted(third) == list(range(7)) and third != seen(batches, 0, 2)  # the first rows again, in another order


def test_step_maps_to_its_epoch_and_position():
    batches = EpochBatches([store(7), store(11)], 4, seed=1)  # 2 and 3 steps
    assert [batches.position(step) for step in range(8)] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0)]
    assert [batches.steps_in(epochs) for epochs in (0.1, 1, 1.5, 2, 3, 4)] == [1, 2, 4, 5, 7, 10]
    assert batches.epochs_at(4) == pytest.approx(1 + 2 / 3) and batches.epochs_at(5) == 2


@pytest.mark.parametrize("size", [1, 3, 10, 1234])
def test_fractional_epochs_round_up_exactly(size):
    batches = EpochBatches([store(size)], 1, seed=1)
    for tenths in range(1, 601):
        assert batches.steps_in(tenths / 10) == max(1, -(-tenths * size // 10))


def test_held_out_rows_are_not_trained_on():
    whole = store(40)
    train, held_out = without_last(whole, 3)
    rows = np.array([2, 0, 1])
    assert (len(train), len(held_out)) == (37, 3)
    assert held_out.tokens(rows).tolist() == [*whole.row(39), *whole.row(37), *whole.row(38)]
    assert held_out.lengths.tolist() == whole.lengths[37:].tolist()
    assert max(seen(EpochBatches([train], 8, seed=0), 0, 5)) == 36


def test_holding_out_always_leaves_a_row_to_train_on():
    train, held_out = without_last(store(12), 1000)
    assert (len(train), len(held_out)) == (11, 1)
    with pytest.raises(UserError, match="there are 1 sequences"):
        without_last(store(1), 1)


def test_row_range_keeps_the_labels():
    labelled = TokenStore.from_arrays([[1], [2], [3]], labels=np.array([7, 8, 9]))
    assert RowRange(labelled, 1, 3).labels.tolist() == [8, 9]
