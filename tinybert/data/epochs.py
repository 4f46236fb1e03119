"""Batches of a run whose rows may differ between epochs, as in pregenerated data."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

from tinybert.data.batches import Batch, Batches
from tinybert.data.store import Rows


class EpochBatches:
    """The batches of several stores: epoch e reads store e modulo their number.

    `how`: the arguments of `Batches`, with its errors. Stores may have different numbers of steps.
    """

    def __init__(self, stores: Sequence[Rows], batch_size: int, **how) -> None:
        self.each = [Batches(store, batch_size, **how) for store in stores]
        self._begins = list(itertools.accumulate((batches.steps_per_epoch for batches in self.each), initial=0))

    def step(self, epoch: int, index: int) -> list[Batch]:
        """This rank's micro-batches of one step of an epoch."""
        return self.each[epoch % len(self.each)].step(epoch, index)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a global step, and the step's index in that epoch."""
        rounds, rest = divmod(step, self._begins[-1])
        which = bisect.bisect_right(self._begins, rest) - 1
        return rounds * len(self.each) + which, rest - self._begins[which]

    def epochs_at(self, step: int) -> float:
        """The number of epochs completed after `step` steps."""
        epoch, index = self.position(step)
        return epoch + index / self.each[epoch % len(self.each)].steps_per_epoch

    def steps_in(self, epochs: float) -> int:
        """The number of steps in `epochs` epochs, which may be fractional; at least one."""
        whole = int(epochs)
        rounds, which = divmod(whole, len(self.each))
        part = epochs - whole - 1e-9  # 1.3 - 1 is slightly more than 0.3, which must not add a step
        last = math.ceil(part * self.each[which].steps_per_epoch)
        return max(1, rounds * self._begins[-1] + self._begins[which] + last)
