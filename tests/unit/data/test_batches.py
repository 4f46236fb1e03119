"""Every row is trained on exactly once per epoch for any number of ranks and micro-batches, and shares give exact means."""

import numpy as np
import pytest

from tinybert.data.batches import Batches, sequential
from tinybert.data.store import TokenStore
from tinybert.errors import UserError

SETTINGS = [(world, accumulation) for world in (1, 2, 3) for accumulation in (1, 4)]


def made(rows, seed=0, longest=40):
    """A store with `rows` rows; row i repeats the number i + 1, and its label is i."""
    lengths = np.random.default_rng(seed).integers(2, longest + 1, rows)
    sequences = [[i + 1] * length for i, length in enumerate(lengths)]
    first = np.maximum(lengths // 2, 1)
    return TokenStore.from_arrays(sequences, first=first, labels=np.arange(rows), pad_id=0)


def step_of_all_ranks(store, size, epoch, index, world, **settings):
    return [Batches(store, size, rank=rank, world=world, **settings).step(epoch, index) for rank in range(world)]


@pytest.mark.parametrize(("world", "accumulation"), SETTINGS)
@pytest.mark.parametrize("rows", [1, 5, 96, 97, 1000])
@pytest.mark.parametrize("bucket", [True, False])
def test_every_row_is_in_an_epoch_exactly_once(world, accumulation, rows, bucket):
    store = made(rows)
    settings = {"seed": 3, "accumulation": accumulation, "bucket": bucket}
    ranks = [Batches(store, 4, rank=rank, world=world, **settings) for rank in range(world)]
    seen = []
    for index in range(ranks[0].steps_per_epoch):
        micro = [batch for rank in ranks for batch in rank.step(0, index)]
        assert len({len(rank.step(0, index)) for rank in ranks}) == 1 and len(micro) <= world * accumulation
        assert len({batch.input_ids.shape[1] for batch in micro}) == 1  # one width for the whole step
        for name in ("rows", "tokens", "token_pairs"):
            assert sum(batch.share[name] for batch in micro) == pytest.approx(1, abs=1e-12)
        real = [batch for batch in micro if batch.share["rows"]]
        sizes = [len(batch.rows) for batch in real]
        assert max(sizes) <= 4 and max(sizes) - min(sizes) <= 1
        assert len(micro) - len(real) < world  # a placeholder only if a rank has no row while others do
        assert len(micro) == world * accumulation or set(sizes) == {1}
        assert all(len(batch.rows) == 1 for batch in micro if not batch.share["rows"])
        seen += [row for batch in real for row in batch.rows]
    assert sorted(seen) == list(range(rows))


def test_share_weighted_means_equal_the_mean_over_the_step():
    store = made(23)
    per_token = np.random.default_rng(1).normal(size=(23, 40))
    micro = [b for rank in step_of_all_ranks(store, 4, 0, 0, 2, seed=0, accumulation=3) for b in rank]
    by_rows = by_tokens = 0.0
    for batch in micro:
        values = per_token[batch.rows][:, : batch.input_ids.shape[1]]
        by_rows += batch.share["rows"] * values[:, 0].mean()
        by_tokens += batch.share["tokens"] * (values * batch.attention_mask).sum() / batch.attention_mask.sum()
    real = np.arange(40) < store.lengths[:, None]
    assert by_rows == pytest.approx(per_token[:, 0].mean(), abs=1e-12)
    assert by_tokens == pytest.approx(per_token[real].mean(), abs=1e-12)


def test_label_sets_become_float32_targets():
    store = TokenStore.from_arrays([[2, 3]] * 4, labels=np.array([[0, 1]] * 4, np.uint8))
    assert Batches(store, 4, seed=1).step(0, 0)[0].labels.dtype == np.float32  # PaddleNLP's models and loss need them


def test_batches_hold_the_rows_padded_at_the_end():
    store = made(50)
    for batch in Batches(store, 8, seed=5).step(0, 2):
        width = max(store.lengths[batch.rows])
        assert batch.input_ids.shape == batch.token_type_ids.shape == batch.attention_mask.shape == (8, width)
        assert (batch.input_ids.dtype, batch.token_type_ids.dtype) == (np.int64, np.int64)
        assert batch.attention_mask.dtype == np.float32 and batch.labels.tolist() == batch.rows.tolist()
        for i, row in enumerate(batch.rows):
            length, first = store.lengths[row], store.first[row]
            assert batch.input_ids[i].tolist() == [row + 1] * length + [0] * (width - length)
            assert batch.attention_mask[i].tolist() == [1] * length + [0] * (width - length)
            assert batch.token_type_ids[i].tolist() == [0] * first + [1] * (length - first) + [0] * (width - length)


def test_steps_can_be_rebuilt_out_of_order():
    store = made(500)
    one = Batches(store, 8, seed=7, accumulation=2)
    through = [[b.rows.tolist() for b in one.step(epoch, i)] for epoch in range(3) for i in range(one.steps_per_epoch)]
    resumed = Batches(store, 8, seed=7, accumulation=2)
    for epoch, index in ((2, 5), (0, 1), (1, 30), (2, 0)):
        expected = through[epoch * one.steps_per_epoch + index]
        assert [b.rows.tolist() for b in resumed.step(epoch, index)] == expected


def test_order_is_the_one_recorded_with_numpy_1_26():
    # recorded with NumPy 1.26.4; if this fails, a resumed run would train on some rows twice
    batches = Batches(made(10), 5, seed=1, bucket=False)
    assert [batches.step(2, i)[0].rows.tolist() for i in (0, 1)] == [[1, 6, 4, 8, 3], [7, 5, 0, 2, 9]]


def test_seed_and_epoch_change_the_order():
    store = made(100)
    orders = {tuple(Batches(store, 10, seed=s).step(e, 0)[0].rows) for s in (0, 1) for e in (0, 1)}
    assert len(orders) == 4


def test_rows_of_a_step_do_not_depend_on_ranks_and_micro_batches():
    store = made(300)
    alone = Batches(store, 24, seed=2).step(1, 3)[0].rows
    for world, accumulation in ((2, 3), (3, 2), (1, 6)):
        ranks = step_of_all_ranks(store, 24 // (world * accumulation), 1, 3, world, seed=2, accumulation=accumulation)
        assert sorted(row for rank in ranks for batch in rank for row in batch.rows) == sorted(alone)


def test_bucketing_saves_padding_and_still_shuffles():
    store = made(5000, longest=60)

    def padded(bucket):
        batches = Batches(store, 32, seed=0, bucket=bucket)
        return sum(b.input_ids.size for i in range(batches.steps_per_epoch) for b in batches.step(0, i))

    real = int(store.lengths.sum())
    assert padded(True) < 1.1 * real < 1.7 * real < padded(False)
    batches = Batches(store, 32, seed=0)
    widths = [batches.step(0, i)[0].input_ids.shape[1] for i in range(60)]
    assert widths != sorted(widths)
    neighbours = [set(Batches(store, 32, seed=0).step(e, i)[0].rows) for e, i in ((0, 0), (1, 0))]
    assert neighbours[0] != neighbours[1]


def test_fixed_length_pads_like_the_published_scripts():
    store = made(40, longest=20)
    batches = Batches(store, 8, seed=0, pad_to=64)
    assert {b.input_ids.shape for i in range(5) for b in batches.step(0, i)} == {(8, 64)}
    with pytest.raises(UserError, match="padded to 10"):
        Batches(store, 8, seed=0, pad_to=10)


def test_without_shuffling_rows_keep_the_order_of_the_file():
    batches = Batches(made(10), 4, seed=0, shuffle=False)
    assert [row for i in range(3) for row in batches.step(9, i)[0].rows] == list(range(10))


def test_drop_last_drops_the_partial_step_but_never_the_only_one(capsys):
    store = made(10)
    dropped = Batches(store, 4, seed=0, drop_last=True)
    assert dropped.steps_per_epoch == 2
    assert len({row for i in range(2) for row in dropped.step(0, i)[0].rows}) == 8
    assert not capsys.readouterr().err
    small = Batches(store, 32, seed=0, drop_last=True)
    assert small.steps_per_epoch == 1 and sorted(small.step(0, 0)[0].rows) == list(range(10))
    assert "drop_last" in capsys.readouterr().err


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 7, 50])
def test_evaluation_sees_every_row_once_over_all_ranks(world, rows):
    store = made(rows)
    batches = [batch for rank in range(world) for batch in sequential(store, 4, rank, world)]
    assert sorted(row for batch in batches for row in batch.rows) == list(range(rows))
    assert sum(batch.share["tokens"] for batch in batches) == pytest.approx(1)
    assert all(batch.input_ids.shape[1] == store.lengths[batch.rows].max() for batch in batches)


def test_evaluation_starts_with_the_longest_rows():
    widths = [batch.input_ids.shape[1] for batch in sequential(made(50), 4)]
    assert widths == sorted(widths, reverse=True) and widths[0] > widths[-1]


def test_batch_size_zero_is_refused():
    with pytest.raises(UserError, match="batch size is 0"):
        next(sequential(made(10), 0))
