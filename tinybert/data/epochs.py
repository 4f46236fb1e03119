"""Batches of a run, whose rows may change from epoch to epoch, as pre-generated data does."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

from tinybert.data.batches import Batch, Batches
from tinybert.data.store import Rows


class EpochBatches:
    """The batches of several stores: epoch e reads store e modulo their number.

    `how` is what `Batches` takes, with its errors. Each store may have its own number of steps.
    """

    def __init__(self, stores: Sequence[Rows], batch_size: int, **how) -> None:
        self.each = [Batches(store, batch_size, **how) for store in stores]
        self._begins = list(itertools.accumulate((batches.steps_per_epoch for batches in self.each), initial=0))

    def step(self, epoch: int, index: int) -> list[Batch]:
        """This rank's micro-batches of one step of an epoch."""
        return self.each[epoch % len(self.each)].step(epoch, index)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch and the index in it of a step of the whole run."""
        rounds, rest = divmod(step, self._begins[-1])
        which = bisect.bisect_right(self._begins, rest) - 1
        return rounds * len(self.each) + which, rest - self._begins[which]

    def epochs_at(self, step: int) -> float:
        """Epochs that are done when `step` steps are."""
        epoch, index = self.position(step)
        return epoch + index / self.each[epoch % len(self.each)].steps_per_epoch

    def steps_in(self, epochs: float) -> int:
        """Steps of so many epochs, the last of which may be a fraction; at least one."""
        whole = int(epochs)
        rounds, which = divmod(whole, len(self.each))
        part = epochs - whole - 1e-9  # 1.3 - 1 is a little more than 0.3, and no step is made of that
        last = math.ceil(part * self.each[which].steps_per_epoch)
        return max(1, rounds * self._begins[-1] + self._begins[which] + last)
