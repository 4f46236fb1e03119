"""MiniLMv2: relations of queries, keys and values of one layer, then logits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tinybert.config.options import option
from tinybert.config.resolved import Settings
from tinybert.methods.logit_losses import LogitLosses
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.relation import check_relation_layers, relation_stage
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel

in_minilmv2 = partial(option, group="method minilmv2", setting=True, learnt="layers")


@register
class MiniLmV2(DistillationMethod, LogitLosses):
    """Relations of one layer of each encoder (Wang et al. 2021), then TinyBERT's second stage."""

    name = "minilmv2"
    help = "both stages: relations of one layer, then logits"

    minilmv2_heads: int | None = in_minilmv2(
        None, help="number of relation heads; must divide both widths", unset="the teacher's heads", at_least=1
    )
    minilmv2_layers: str | None = in_minilmv2(
        None, help="layers to compare, counted from 1", metavar="STUDENT:TEACHER", unset="the last layers of both"
    )

    def check(self, config: Any) -> None:
        """Reject a malformed pair of layers."""
        check_relation_layers(config, "minilmv2_layers")

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
        """Relations of one layer."""
        return relation_stage(student, teacher, settings.minilmv2_layers, settings.minilmv2_heads)
