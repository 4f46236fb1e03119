"""Learning rates by step."""

from __future__ import annotations

import numpy as np
import pytest

from tinybert.engine.schedules import factor, schedule


def test_constant_rate_neither_warms_up_nor_decays():
    rate = schedule("constant", 5e-5, 100, 10.0)
    assert {rate(step) for step in range(101)} == {5e-5}


def test_linear_rate_matches_a_hand_computed_table():
    rate = schedule("linear", 2.0, 10, 4.0)
    np.testing.assert_allclose([rate(step) for step in range(11)], [0, 0.5, 1, 1.5, 2, 10 / 6, 8 / 6, 1, 4 / 6, 2 / 6, 0])


def test_linear_rate_without_warmup_starts_at_its_peak():
    np.testing.assert_allclose([factor("linear", step, 4, 0.0) for step in range(5)], [1, 0.75, 0.5, 0.25, 0])


def test_fractional_warmup_steps_are_not_rounded():
    # 10% of 25 steps is 2.5
    np.testing.assert_allclose([factor("linear", step, 25, 2.5) for step in (0, 1, 2, 3)], [0, 0.4, 0.8, 22 / 22.5])


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.0), (1, 0.1), (3, 3.0), (3, 5.0), (7, 7.0)])
def test_factors_of_short_runs_are_finite_and_between_0_and_1(total, warmup):
    values = [factor("linear", step, total, warmup) for step in range(total + 2)]
    assert np.isfinite(values).all() and min(values) >= 0 and max(values) <= 1
