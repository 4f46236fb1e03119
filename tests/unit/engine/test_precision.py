"""Mixed precision: overflows are counted, and unsupported devices are rejected."""

from __future__ import annotations

import numpy as np
import pytest

from tinybert.engine.precision import Precision
from tinybert.errors import UserError


class _Scaler:
    """Replaces Paddle's scaler, which needs a GPU: its scale is halved when a step overflows."""

    def __init__(self, overflows: list[bool]) -> None:
        self.overflows, self.scale_now = iter(overflows), 8.0

    def is_enable(self) -> bool:
        return True

    def state_dict(self) -> dict:
        return {"scale": np.array([self.scale_now])}

    def step(self, optimizer) -> None:
        self.overflow = next(self.overflows)

    def update(self) -> None:
        self.scale_now *= 0.5 if self.overflow else 1.0


def test_skipped_float16_steps_are_counted():
    precision = Precision()
    precision.scaler = _Scaler([False, True, True, False])
    for _ in range(4):
        precision.update(None)
    assert precision.skipped == 2 and precision.state()["skipped"] == 2


def test_mixed_precision_on_the_cpu_is_refused():
    with pytest.raises(UserError, match="on the CPU"):
        Precision("O1", "float16", "cpu")
