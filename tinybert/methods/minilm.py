"""MiniLM: attention distributions and value relations of the last layer, then logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinybert.methods.layer_losses import depths
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
class MiniLm(Method, LogitLosses):
    """The last layer's attention and values (Wang et al. 2020), then TinyBERT's second stage."""

    name = "minilm"
    help = "both stages: attention and value relations of the last layer, then logits"

    def check_stage(self, context: Context) -> None:
        """Reject a weight of 0."""
        check_prediction_weight(context)

    def compares_scores(self, settings: Settings) -> bool:
        """Whether it is stage one."""
        return settings.learns_layers

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """The last layer, logits, or both."""
        from tinybert.methods.stage_objective import StageObjective
        from tinybert.objectives.last_attention import LastAttentionLoss
        from tinybert.objectives.objective import Objective, Part

        if not settings.learns_layers:
            return StageObjective(prediction_of(settings, kind))
        layers = depths(student, teacher)
        heads = student.config.num_attention_heads, teacher.config.num_attention_heads
        parts = [Part("last", LastAttentionLoss((layers[0] - 1, layers[1] - 1), heads))]
        if settings.get("joint"):
            parts += prediction_of(settings, kind).parts
        return StageObjective(Objective(parts))
