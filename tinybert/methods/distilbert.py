"""DistilBERT's loss in task distillation: logits, gold labels, and the direction of the last hidden states, in one stage."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.options import option
from tinybert.config.resolved import Settings
from tinybert.methods.layer_losses import Projected, depths, make_projection
from tinybert.methods.logit_losses import LogitLosses
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel

in_distilbert = partial(option, group="method distilbert", setting=True, learnt="layers")


@register
class DistilBert(DistillationMethod, Projected, LogitLosses):
    """Soft targets, gold labels and a cosine loss (Sanh et al. 2019); its masked-LM loss does not apply to task data."""

    name = "distilbert"
    help = "one stage: logits and the direction (cosine) of the last hidden states"
    stages = ("prediction",)
    at_once = True

    cosine_weight: float = in_distilbert(1.0, help="weight of the cosine loss", at_least=0)

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective | None:
        """The cosine loss."""
        from tinybert.objectives.cosine import CosineLoss
        from tinybert.objectives.objective import Objective, Part

        if not settings.cosine_weight:
            return None
        projection, fact, line = make_projection(settings, student, teacher)
        part = Part("cos", CosineLoss(depths(student, teacher), projection), settings.cosine_weight)
        return StageObjective(Objective([part], projection), None, {"projection": fact}, [line])
