"""Which shape a student has after each update."""

from __future__ import annotations

import pytest

from tinybert.errors import UserError
from tinybert.prune.reduction import Shape
from tinybert.prune.schedule import planned

BASE = Shape(tuple(range(1, 13)), 12, 3072, None)


def shapes(kind, end, total=1000, proportion=0.1, start=BASE):
    return [(e.step, len(e.shape.layers), e.shape.heads, e.shape.neurons, e.shape.rank)
            for e in planned(kind, start, end, 768, total, proportion)]  # fmt: skip


def test_width_schedule_gives_the_published_steps_and_shapes():
    end = Shape(BASE.layers, 2, 512, 128)
    found = shapes("width", end)  # 12 - 2 events in the first tenth of the updates
    assert [entry[0] for entry in found] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert [entry[2] for entry in found] == [11, 10, 9, 8, 7, 6, 5, 4, 3, 2]
    assert found[0] == (10, 12, 11, 2816, 704) and found[4] == (50, 12, 7, 1792, 448) and found[-1] == (100, 12, 2, 512, 128)


def test_depth_schedule_removes_only_the_last_layer_each_time():
    found = shapes("depth", Shape(BASE.layers[:8], 12, 3072, None), proportion=0.2)
    assert found == [(50, 11, 12, 3072, None), (100, 10, 12, 3072, None), (150, 9, 12, 3072, None), (200, 8, 12, 3072, None)]


def test_both_schedule_prunes_depth_before_width():
    found = shapes("both", Shape(BASE.layers[:10], 10, 3072, None), total=400)
    assert found == [(10, 11, 12, 3072, None), (20, 10, 12, 3072, None), (30, 10, 11, 3072, None), (40, 10, 10, 3072, None)]


def test_neurons_and_rank_are_pruned_with_or_without_heads():
    assert shapes("width", Shape(BASE.layers, 12, 1000, None)) == [(100, 12, 12, 1000, None)]
    start = Shape((1, 2), 3, 64, 24)
    assert shapes("width", Shape((1, 2), 1, 64, 12), start=start, total=20, proportion=0.5) == [(5, 2, 2, 64, 18), (10, 2, 1, 64, 12)]


def test_impossible_schedules_are_rejected():
    with pytest.raises(UserError, match="has nothing to prune"):
        planned("width", BASE, BASE, 768, 1000, 0.1)
    with pytest.raises(UserError, match=r"prunes 10 times, but 0.1 of 99 updates \(--prune_period_proportion\) are only 9"):
        planned("width", BASE, Shape(BASE.layers, 2, 512, 128), 768, 99, 0.1)
