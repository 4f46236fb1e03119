"""How many updates a budget allows, and when that is too few."""

from __future__ import annotations

import pytest

from tinybert.compare.budget import BudgetError, affordable


def test_updates_fill_nine_tenths_of_the_budget():
    assert affordable(10, runs=3, parallel=1, update=0.5, overhead=30, epoch=100) == 300  # 540 s: 180 s each, 150 s of them updates
    assert affordable(10, runs=3, parallel=3, update=0.5, overhead=30, epoch=100) == 1020


def test_budget_that_trains_nothing_is_refused_with_one_that_suffices():
    with pytest.raises(
        BudgetError, match=r"0 updates of each run \(4 runs of 20 s and 0.50 s per update\); expected at least 50"
    ) as caught:
        affordable(1, runs=4, parallel=1, update=0.5, overhead=20, epoch=100)
    assert affordable(caught.value.minutes, runs=4, parallel=1, update=0.5, overhead=20, epoch=100) >= 50
    with pytest.raises(BudgetError):
        affordable(caught.value.minutes - 1, runs=4, parallel=1, update=0.5, overhead=20, epoch=100)


def test_few_rows_need_few_updates():
    assert affordable(0.2, runs=1, parallel=1, update=0.5, overhead=8, epoch=1) == 5
