"""The number of updates per run that a budget in minutes allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    """Measured seconds.

    update: of an update whose teacher outputs are stored. teacher: of the teacher, in addition, for an update with new rows. overhead:
    of a run besides its updates.
    """

    update: float
    teacher: float
    overhead: float


@dataclass(frozen=True)
class Load:
    """The runs of a comparison.

    turns: how many runs follow one another. epoch: updates per epoch, `math.inf` if not known. passes: how many groups of runs store
    different outputs of the teacher. seeds: their number; each seed sees the rows in another order.
    """

    turns: int
    epoch: float
    passes: int = 0
    seeds: int = 1

    def seconds(self, updates: int, costs: Costs) -> float:
        """The duration of all runs of so many updates."""
        return self.turns * (costs.overhead + updates * costs.update) + self.passes * min(self.seeds * updates, self.epoch) * costs.teacher

    def updates(self, seconds: float, costs: Costs) -> int:
        """The largest number of updates per run that takes at most so long; 0 if there is none."""
        left, each = seconds - self.turns * costs.overhead, self.turns * max(costs.update, 1e-3)
        found = left / (each + self.passes * self.seeds * costs.teacher)
        if self.seeds * found > self.epoch:
            found = (left - self.passes * self.epoch * costs.teacher) / each
        return max(0, int(found))


def affordable(minutes: float, load: Load, costs: Costs) -> int:
    """The number of updates of each run.

    Raises:
        BudgetError: not enough for `LEAST_UPDATES` updates or `EPOCHS` epochs per run.
    """
    least = int(min(LEAST_UPDATES, EPOCHS * load.epoch))
    found = load.updates(60 * SHARE * minutes, costs)
    if found < least:
        enough = math.ceil(load.seconds(least, costs) / SHARE / 60)
        raise BudgetError(
            f"--budget_minutes {minutes:g} is enough for {found} updates of each run ({costs.overhead:.0f} s per run, {costs.update:.2f} s "
            f"per update, {costs.teacher:.2f} s more while the teacher's outputs are new); expected at least {least}\n"
            f"give --budget_minutes {enough} or more, or fewer runs",
            enough,
        )
    return found


def costs_of(stages: Sequence[Mapping[str, Any]], seconds: float) -> Costs:
    """The costs from the entries of a run's stages in run.json, and its duration.

    The teacher's outputs of the first batch are computed before the training time starts.
    """
    training = sum(stage.get("seconds") or 0 for stage in stages)
    steps = [stage["steps"] for stage in stages]
    traces = [stage.get("teacher_traces", {}) for stage in stages]
    teacher, evaluation = (sum(each.get(name, 0.0) for each in traces) for name in ("training_seconds", "evaluation_seconds"))
    student = max(0.0, training - teacher * (steps[0] - 1) / steps[0])
    return Costs(student / sum(steps), teacher / steps[0], max(0.0, seconds - training - evaluation - teacher / steps[0]))
