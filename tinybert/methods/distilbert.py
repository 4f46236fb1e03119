"""DistilBERT's loss in task distillation: logits, gold labels, and the direction of the last hidden states, in one stage."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.options import option
from tinybert.methods.layer_losses import Projected, depths, make_projection
from tinybert.methods.logit_losses import LogitLosses, check_prediction_weight, prediction_of
from tinybert.methods.method import Method
from tinybert.methods.registry import register

if TYPE_CHECKING:
    from tinybert.config.resolve import Context
    from tinybert.config.resolved import Settings
    from tinybert.kinds.kind import Kind
    from tinybert.methods.stage_objective import StageObjective
    from tinybert.models.loading import LoadedModel

in_distilbert = partial(option, group="method distilbert", setting=True, learnt="layers")


@register
class DistilBert(Method, Projected, LogitLosses):
    """Soft targets, gold labels and a cosine loss (Sanh et al. 2019); its masked-LM loss does not apply to task data."""

    name = "distilbert"
    help = "one stage: logits and the direction (cosine) of the last hidden states"
    stages = ("prediction",)

    cosine_weight: float = in_distilbert(1.0, help="weight of the cosine loss", at_least=0)

    def learns(self, stage: str, joint: bool) -> frozenset[str]:
        """Layers and logits."""
        return frozenset({"layers", "logits"})

    def check_stage(self, context: Context) -> None:
        """Reject a weight of 0."""
        check_prediction_weight(context)

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """The cosine loss and the prediction loss."""
        from tinybert.methods.stage_objective import StageObjective
        from tinybert.objectives.cosine import CosineLoss
        from tinybert.objectives.objective import Objective, Part

        prediction = prediction_of(settings, kind)
        if not settings.cosine_weight:
            return StageObjective(prediction)
        projection, fact, line = make_projection(settings, student, teacher)
        parts = [Part("cos", CosineLoss(depths(student, teacher), projection), settings.cosine_weight), *prediction.parts]
        return StageObjective(Objective(parts, projection), None, {"projection": fact}, [line])
