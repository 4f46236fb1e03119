"""The benchmark clock: which steps represent an epoch, and what a mode changes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.speed.clock import ratio, representative
from benchmark.speed.ladder import BEST, FEATURES, LADDER, PUBLISHED, WITHOUT, environment, features_of


@pytest.mark.parametrize("count", [6, 12])
def test_chosen_steps_represent_the_epochs_mean_width(count):
    widths = np.random.default_rng(3).gamma(1.5, 10, 2100).astype(int) + 3
    chosen = representative(widths, count)
    assert len(set(chosen)) == count
    assert widths[chosen].mean() == pytest.approx(widths.mean(), rel=0.03)


def test_asking_for_more_steps_than_exist_returns_all():
    assert sorted(representative([5, 3, 9], 12)) == [0, 1, 2]


def test_each_mode_adds_or_removes_exactly_one_feature():
    rungs = [features_of(mode) for mode in LADDER]
    assert not features_of(PUBLISHED) and features_of(BEST) == set(FEATURES)
    assert all(len(above - below) == 1 and below < above for below, above in zip(rungs, rungs[1:], strict=False))
    assert {tuple(set(FEATURES) - features_of(mode)) for mode in WITHOUT} == {(feature,) for feature in FEATURES}


def test_shell_settings_do_not_reach_measured_modes(monkeypatch):
    for name in ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "FLAGS_allocator_strategy", "TINYBERT_CPU_OPS", "TINYBERT_CACHE"):
        monkeypatch.setenv(name, "7")
    handed_on = environment()
    assert "TINYBERT_CACHE" in handed_on and "PATH" in handed_on
    assert not [name for name in handed_on if name.startswith(("OMP_", "MKL_", "FLAGS_")) or name == "TINYBERT_CPU_OPS"]


def test_ratio_is_the_median_over_paired_rounds():
    assert ratio([10.0, 5.0, 11.0], [5.0, 2.5, 5.0]) == 2.0
