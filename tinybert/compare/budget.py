"""The number of updates per run that a budget in minutes allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinybert.errors import UserError

EPOCHS = 3  # without a budget
SHARE = 0.9  # of the budget; the rest is for scores and reports
LEAST_UPDATES = 50  # fewer train nothing, unless they are `EPOCHS` epochs


class BudgetError(UserError):
    """A budget that is too small to train anything. minutes: the smallest one that is accepted."""

    def __init__(self, message: str, minutes: int) -> None:
        super().__init__(message)
        self.minutes = minutes


@dataclass(frozen=True)
class Costs:
    """Seconds of a comparison's runs, as measured.

    update: of an update whose teacher outputs are stored. teacher: of the teacher, additionally, for an update with new rows. overhead:
    of a run besides its updates. passes: how often the teacher sees all rows in the whole comparison.
    """

    update: float
    teacher: float
    overhead: float
    passes: int

    def total(self, updates: int, runs: int, epoch: int) -> float:
        """Seconds of `runs` runs of so many updates; epoch: updates per epoch."""
        return runs * (self.overhead + updates * self.update) + self.passes * min(updates, epoch) * self.teacher

    def updates(self, seconds: float, runs: int, epoch: int) -> int:
        """The largest number of updates per run that takes at most so long; 0 if there is none."""
        left = seconds - runs * self.overhead
        new = int(left / (runs * max(self.update, 1e-3) + self.passes * self.teacher))
        if new > epoch:
            new = int((left - self.passes * epoch * self.teacher) / (runs * max(self.update, 1e-3)))
        return max(0, new)


def affordable(minutes: float, runs: int, parallel: int, costs: Costs, epoch: int) -> int:
    """The updates of each of `runs` runs, of which `parallel` run at once. epoch: updates per epoch.

    Raises:
        BudgetError: not enough for `LEAST_UPDATES` updates or `EPOCHS` epochs per run.
    """
    least = min(LEAST_UPDATES, EPOCHS * epoch)
    found = costs.updates(60 * SHARE * minutes * parallel, runs, epoch)
    if found < least:
        enough = math.ceil(costs.total(least, runs, epoch) / parallel / SHARE / 60)
        raise BudgetError(
            f"--budget_minutes {minutes:g} is enough for {found} updates of each run ({runs} runs of {costs.overhead:.0f} s and "
            f"{costs.update:.2f} s per update); expected at least {least}\ngive --budget_minutes {enough} or more, or fewer runs",
            enough,
        )
    return found
