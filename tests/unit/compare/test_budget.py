"""How many updates a budget allows, and when that is too few."""

from __future__ import annotations

import pytest

from tinybert.compare.budget import BudgetError, Costs, affordable

ALONE = Costs(update=0.5, teacher=0.0, overhead=30, passes=0)
STORED = Costs(update=0.5, teacher=2.0, overhead=30, passes=1)


def test_updates_fill_nine_tenths_of_the_budget():
    assert affordable(10, runs=3, parallel=1, costs=ALONE, epoch=100) == 300  # 540 s: 180 s each, 150 s of them updates
    assert affordable(10, runs=3, parallel=3, costs=ALONE, epoch=100) == 1020


def test_teacher_costs_time_only_in_the_first_epoch_of_all_runs():
    assert affordable(10, runs=3, parallel=1, costs=STORED, epoch=100) == 166  # 450 s without overhead, 200 s of them the teacher's
    assert affordable(10, runs=3, parallel=1, costs=STORED, epoch=1000) == 128
    assert affordable(10, runs=3, parallel=1, costs=Costs(0.5, 2.0, 30, passes=2), epoch=1000) == 81


@pytest.mark.parametrize("epoch", [20, 100, 1000])
def test_affordable_updates_take_the_time_that_was_given(epoch):
    found = STORED.updates(500, 4, epoch)
    assert STORED.total(found, 4, epoch) <= 500 < STORED.total(found + 1, 4, epoch)


@pytest.mark.parametrize("costs", [ALONE, STORED])
def test_budget_that_trains_nothing_is_refused_with_one_that_suffices(costs):
    with pytest.raises(
        BudgetError, match=r"0 updates of each run \(4 runs of 30 s and 0.50 s per update\); expected at least 50"
    ) as caught:
        affordable(1, runs=4, parallel=1, costs=costs, epoch=100)
    assert affordable(caught.value.minutes, runs=4, parallel=1, costs=costs, epoch=100) >= 50
    with pytest.raises(BudgetError):
        affordable(caught.value.minutes - 1, runs=4, parallel=1, costs=costs, epoch=100)


def test_few_rows_need_few_updates():
    assert affordable(0.2, runs=1, parallel=1, costs=Costs(0.5, 0.0, 8, 0), epoch=1) == 5
