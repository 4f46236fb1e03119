"""Patient knowledge distillation: [CLS] states of intermediate layers, logits and gold labels, in one stage."""

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

in_pkd = partial(option, group="method pkd", setting=True, learnt="layers")


@register
class Pkd(DistillationMethod, Projected, LogitLosses):
    """(1 - alpha) gold labels + alpha logits + pkd_weight [CLS] states (Sun et al. 2019)."""

    name = "pkd"
    help = "one stage: [CLS] states of all layers except the last, and logits"
    stages = ("prediction",)
    at_once = True

    pkd_weight: float = in_pkd(100.0, help="weight of the [CLS] states (the paper's beta)", at_least=0)
    pkd_layers: str = in_pkd(
        "skip", help="teacher layers to learn from: evenly spaced (skip), or the last ones (last)", choices=("skip", "last")
    )

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective | None:
        """The patient loss; None for a student with one layer, which has no intermediate layer."""
        from tinybert.objectives.objective import Objective, Part
        from tinybert.objectives.patient import PatientLoss

        pairs = layer_pairs(*depths(student, teacher), settings.pkd_layers)
        if not settings.pkd_weight or not pairs:
            return None
        projection, fact, line = make_projection(settings, student, teacher)
        part = Part("pkd", PatientLoss(pairs, projection), settings.pkd_weight)
        shown = ", ".join(f"{s} <- {t}" for s, t in pairs)
        facts = {"projection": fact, "pkd_layers": pairs}
        return StageObjective(Objective([part], projection), None, facts, [f"[CLS] states: {shown}", line])


def layer_pairs(student: int, teacher: int, rule: str) -> tuple[tuple[int, int], ...]:
    """(student layer, teacher layer), 1-based, without the student's last layer; for 6 of 12 layers 2, 4, ..., 10 or 7, 8, ..., 11.

    Source: PKD (Sun et al. 2019), section 3.2, PKD-Skip and PKD-Last.
    """
    if rule == "last":
        return tuple((layer, max(1, teacher - student + layer)) for layer in range(1, student))
    return tuple((layer, max(1, round(layer * teacher / student))) for layer in range(1, student))
