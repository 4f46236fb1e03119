"""How many updates a budget allows, and when that is too few."""

from __future__ import annotations

import math

import pytest

from tinybert.compare.budget import BudgetError, Costs, Load, affordable, costs_of

COSTS = Costs(update=0.5, teacher=2.0, overhead=30)


def test_updates_fill_nine_tenths_of_the_budget():
    assert affordable(10, Load(turns=3, epoch=100), COSTS) == 300  # 540 s: 180 s each, 150 s of them updates
    assert affordable(10, Load(turns=1, epoch=100), COSTS) == 1020


def test_teacher_costs_time_only_while_rows_are_new():
    assert affordable(10, Load(turns=3, epoch=100, passes=1), COSTS) == 166  # 450 s without overhead, 200 s of them the teacher's
    assert affordable(10, Load(turns=3, epoch=100, passes=2), COSTS) == 81
    assert affordable(10, Load(turns=3, epoch=math.inf, passes=1), COSTS) == 128
    assert affordable(10, Load(turns=3, epoch=1000, passes=1, seeds=3), COSTS) == 60  # each seed sees other rows first


@pytest.mark.parametrize("epoch", [20, 100, math.inf])
def test_affordable_updates_take_the_time_that_was_given(epoch):
    load = Load(turns=4, epoch=epoch, passes=2, seeds=2)
    found = load.updates(700, COSTS)
    assert load.seconds(found, COSTS) <= 700 < load.seconds(found + 1, COSTS)


@pytest.mark.parametrize("load", [Load(turns=4, epoch=100), Load(turns=4, epoch=100, passes=1)])
def test_budget_that_trains_nothing_is_refused_with_one_that_suffices(load):
    with pytest.raises(BudgetError, match=r"0 updates of each run \(30 s per run, .*\); expected at least 50") as caught:
        affordable(1, load, COSTS)
    assert affordable(caught.value.minutes, load, COSTS) >= 50
    with pytest.raises(BudgetError):
        affordable(caught.value.minutes - 1, load, COSTS)


def test_few_rows_need_few_updates():
    assert affordable(0.2, Load(turns=1, epoch=1), Costs(0.5, 0.0, 8)) == 5


def test_costs_of_a_short_run_separate_student_and_teacher():
    traces = {"training_seconds": 16.0, "evaluation_seconds": 5.0}  # 8 batches, the first of which is outside the training time
    stages = [{"seconds": 18.0, "steps": 8, "teacher_traces": traces}, {"seconds": 2.0, "steps": 4, "teacher_traces": {}}]
    assert costs_of(stages, 40.0) == Costs(update=0.5, teacher=2.0, overhead=13.0)
    assert costs_of([{"seconds": 6.0, "steps": 12}], 10.0) == Costs(update=0.5, teacher=0.0, overhead=4.0)
