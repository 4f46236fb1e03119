"""Patient knowledge distillation: [CLS] states of intermediate layers, logits and gold labels, in one stage."""

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

in_pkd = partial(option, group="method pkd", setting=True, learnt="layers")


@register
class Pkd(Method, Projected, LogitLosses):
    """(1 - alpha) gold labels + alpha logits + pkd_weight [CLS] states (Sun et al. 2019)."""

    name = "pkd"
    help = "one stage: [CLS] states of all layers except the last, and logits"
    stages = ("prediction",)

    pkd_weight: float = in_pkd(100.0, help="weight of the [CLS] states (the paper's beta)", at_least=0)
    pkd_layers: str = in_pkd(
        "skip", help="teacher layers to learn from: evenly spaced (skip), or the last ones (last)", choices=("skip", "last")
    )

    def learns(self, stage: str, joint: bool) -> frozenset[str]:
        """Layers and logits."""
        return frozenset({"layers", "logits"})

    def check_stage(self, context: Context) -> None:
        """Reject a weight of 0."""
        check_prediction_weight(context)

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """The patient loss and the prediction loss; a student with one layer has no intermediate layer."""
        from tinybert.methods.stage_objective import StageObjective
        from tinybert.objectives.objective import Objective, Part
        from tinybert.objectives.patient import PatientLoss

        prediction = prediction_of(settings, kind)
        pairs = layer_pairs(*depths(student, teacher), settings.pkd_layers)
        if not settings.pkd_weight or not pairs:
            return StageObjective(prediction)
        projection, fact, line = make_projection(settings, student, teacher)
        parts = [Part("pkd", PatientLoss(pairs, projection), settings.pkd_weight), *prediction.parts]
        shown = ", ".join(f"{s} <- {t}" for s, t in pairs)
        return StageObjective(
            Objective(parts, projection), None, {"projection": fact, "pkd_layers": pairs}, [f"[CLS] states: {shown}", line]
        )


def layer_pairs(student: int, teacher: int, rule: str) -> tuple[tuple[int, int], ...]:
    """(student layer, teacher layer), 1-based, without the student's last layer; for 6 of 12 layers 2, 4, ..., 10 or 7, 8, ..., 11.

    Source: PKD (Sun et al. 2019), section 3.2, PKD-Skip and PKD-Last.
    """
    if rule == "last":
        return tuple((layer, max(1, teacher - student + layer)) for layer in range(1, student))
    return tuple((layer, max(1, round(layer * teacher / student))) for layer in range(1, student))
