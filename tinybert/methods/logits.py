"""Distillation of only the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.methods.logit_losses import LogitLosses, check_prediction_weight, prediction_of
from tinybert.methods.method import Method
from tinybert.methods.registry import register

if TYPE_CHECKING:
    from tinybert.config.resolve import Context
    from tinybert.config.resolved import Settings
    from tinybert.kinds.kind import Kind
    from tinybert.methods.stage_objective import StageObjective
    from tinybert.models.loading import LoadedModel


@register
class Logits(Method, LogitLosses):
    """The student learns the teacher's logits (Hinton et al. 2015)."""

    name = "logits"
    help = "logits only"
    stages = ("prediction",)
    prunes = True

    def check_stage(self, context: Context) -> None:
        """Reject a weight of 0."""
        check_prediction_weight(context)

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """TinyBERT's second stage."""
        from tinybert.methods.stage_objective import StageObjective

        return StageObjective(prediction_of(settings, kind))
