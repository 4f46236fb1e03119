"""MiniLM: attention distributions and value relations of the last layer, then logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.config.resolved import Settings
from tinybert.methods.layer_losses import depths
from tinybert.methods.logit_losses import LogitLosses
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel


@register
class MiniLm(DistillationMethod, LogitLosses):
    """The last layer's attention and values (Wang et al. 2020), then TinyBERT's second stage."""

    name = "minilm"
    help = "both stages: attention and value relations of the last layer, then logits"

    def compares_scores(self, settings: Settings) -> bool:
        """Whether it is stage one."""
        return settings.learns_layers

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
        """Attention and values of the last layer."""
        from tinybert.objectives.last_attention import LastAttentionLoss
        from tinybert.objectives.objective import Objective, Part

        layers = depths(student, teacher)
        heads = student.config.num_attention_heads, teacher.config.num_attention_heads
        return StageObjective(Objective([Part("last", LastAttentionLoss((layers[0] - 1, layers[1] - 1), heads))]))
