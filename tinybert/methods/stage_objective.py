"""The objective of a stage as built by a method, with related information. Paddle's types are only used in annotations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tinybert.config.resolved import Settings
from tinybert.kinds.kind import Kind

if TYPE_CHECKING:
    import numpy as np

    from tinybert.models.loading import LoadedModel
    from tinybert.objectives.objective import Objective
    from tinybert.traces.selection import Selection


class Learned(Protocol):
    """Learned state besides the weights: updated every step, saved in checkpoints by its `name`, with arrays for the log."""

    name: str

    def end_step(self) -> None:
        """Called after an update."""

    def observe(self) -> dict[str, np.ndarray]:
        """Arrays for the log."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for a checkpoint."""

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore it."""


@dataclass
class StageObjective:
    """An objective with its learned state, entries for run.json, log lines, and its selection of the teacher's hidden states."""

    objective: Objective
    learned: Learned | None = None
    facts: dict = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    selection: Selection | None = None


def stage_objective(settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
    """The objective of the stage's method, with the caller's additional losses.

    Raises:
        UserError: there is nothing to learn, or models and settings are incompatible.
    """
    from tinybert.objectives.custom import losses_of, with_custom_losses

    chosen = settings.method_object.objective(settings, kind, student, teacher)
    chosen.objective = with_custom_losses(chosen.objective, losses_of(settings.stage))
    return chosen
