"""No distillation: only gold labels, as a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.config.resolved import Settings
from tinybert.kinds.kind import Kind
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel


@register
class NoTeacher(DistillationMethod):
    """The student is fine-tuned on gold labels."""

    name = "none"
    help = "gold labels only"
    stages = ("prediction",)
    reads_teacher = False
    prunes = True

    def learns(self, stage: str, joint: bool) -> frozenset[str]:
        """Nothing."""
        return frozenset()

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """Gold labels."""
        from tinybert.objectives.tinybert import gold_objective

        return StageObjective(gold_objective(kind))
