"""The number of updates per run that a budget in minutes allows."""

from __future__ import annotations

import math

from tinybert.errors import UserError

EPOCHS = 3  # without a budget
SHARE = 0.9  # of the budget; the rest is for scores and reports
LEAST_UPDATES = 50  # fewer train nothing, unless they are `EPOCHS` epochs


class BudgetError(UserError):
    """A budget that is too small to train anything. minutes: the smallest one that is accepted."""

    def __init__(self, message: str, minutes: int) -> None:
        super().__init__(message)
        self.minutes = minutes


def affordable(minutes: float, runs: int, parallel: int, update: float, overhead: float, epoch: int) -> int:
    """The updates of each of `runs` runs, of which `parallel` run at once.

    update, overhead: seconds of an update, and of a run besides its updates, as measured. epoch: updates per epoch.

    Raises:
        BudgetError: not enough for `LEAST_UPDATES` updates or `EPOCHS` epochs per run.
    """
    update = max(update, 1e-3)
    least = min(LEAST_UPDATES, EPOCHS * epoch)
    found = int((60 * SHARE * minutes * parallel / runs - overhead) / update)
    if found < least:
        enough = math.ceil((least * update + overhead) * runs / parallel / SHARE / 60)
        raise BudgetError(
            f"--budget_minutes {minutes:g} is enough for {max(0, found)} updates of each run ({runs} runs of {overhead:.0f} s and "
            f"{update:.2f} s per update); expected at least {least}\ngive --budget_minutes {enough} or more, or fewer runs",
            enough,
        )
    return found
