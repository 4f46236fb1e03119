"""What a method gives a stage: its objective, and what was decided on the way. Annotations alone name Paddle's types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from tinybert.config.resolved import Settings
    from tinybert.kinds.kind import Kind
    from tinybert.models.loading import LoadedModel
    from tinybert.objectives.objective import Objective
    from tinybert.traces.selection import Selection


class Learned(Protocol):
    """State beside the weights: told of every update, part of checkpoints under its `name`, arrays for the log."""

    name: str

    def end_step(self) -> None:
        """An update is over."""

    def observe(self) -> dict[str, np.ndarray]:
        """Arrays for the log."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for a checkpoint."""

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Put it back."""


@dataclass
class StageObjective:
    """An objective; the state beside it; facts for run.json; lines to print; what of the teacher's hidden states it learns."""

    objective: Objective
    learned: Learned | None = None
    facts: dict = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    selection: Selection | None = None


def stage_objective(settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
    """What the method of a stage learns, with the losses that the caller has handed over.

    Raises:
        UserError: nothing is left to learn, or models and settings do not fit each other.
    """
    from tinybert.objectives.custom import losses_of, with_custom_losses

    chosen = settings.method_object.objective(settings, kind, student, teacher)
    chosen.objective = with_custom_losses(chosen.objective, losses_of(settings.stage))
    return chosen
