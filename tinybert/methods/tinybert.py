"""TinyBERT: hidden states and attention, then logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.mapping import LayerMap
from tinybert.methods.layer_losses import (
    LayerLosses,
    MappedLayers,
    all_off,
    check_layer_map,
    depths,
    make_projection,
    part_off,
    part_weights,
)
from tinybert.methods.logit_losses import LogitLosses
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.relation import RelationLosses, check_relation_layers, relation_stage
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel


@register
class TinyBERT(DistillationMethod, MappedLayers, LayerLosses, LogitLosses, RelationLosses):
    """TinyBERT (Jiao et al. 2020), in one stage or two."""

    name = "tinybert"
    help = "both stages: hidden states and attention, then logits"
    general_help = "embedding output, hidden states and attention"
    commands = ("distill", "general")
    prunes = True

    def check(self, config: Any) -> None:
        """Reject malformed layers."""
        check_layer_map(config.layer_map)
        if "relation_layers" in config.options():
            check_relation_layers(config)

    def check_stage(self, context: Context) -> None:
        """Reject a stage whose terms are all disabled."""
        if "layers" in context.learns and not context.relation_weight and all_off(context, "embedding", "hidden", "attention"):
            reasons = ", ".join(str(part_off(context, part)) for part in ("embedding", "hidden", "attention"))
            where = {"general": "", "intermediate": " in the intermediate stage"}.get(context.stage, " of the layers")
            instead = "" if context.stage == "general" else ", or choose --stage prediction"
            raise UserError(f"nothing is left to learn{where}: {reasons}\nkeep one of the three on{instead}")
        super().check_stage(context)

    def compares_scores(self, settings: Settings) -> bool:
        """Whether layers are learned including attention."""
        return settings.learns_layers and bool(part_weights(settings)["attention"])

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
        """Hidden states and attention; in general distillation also relations."""
        from tinybert.objectives.tinybert import intermediate_objective
        from tinybert.traces.selection import Selection, deciding_layers

        relations = None
        if settings.get("relation_weight"):
            relations = relation_stage(student, teacher, settings.relation_layers, settings.relation_heads, settings.relation_weight)
        layer_map = LayerMap.create(settings.layer_map, *depths(student, teacher))
        projection, fact, line = make_projection(settings, student, teacher)
        objective = intermediate_objective(
            layer_map,
            projection,
            **{f"{part}_weight": weight for part, weight in part_weights(settings).items()},
            hidden_reduction=settings.hidden_reduction,
            attention_reduction=settings.attention_reduction,
            attention_heads=settings.attention_heads or "match",
            more=tuple(relations.objective.parts) if relations else (),
        )
        needs = objective.needs_teacher.hidden
        pairs = tuple(pair for pair in layer_map.hidden if pair[1] in needs)
        selection = Selection(pairs, deciding_layers(pairs, *depths(student, teacher), published=False))
        chosen = StageObjective(objective, None, {"projection": fact, "layer_map": layer_map.hidden}, [layer_map.table(), line], selection)
        if relations:
            chosen.facts |= relations.facts
            chosen.lines += relations.lines
        return chosen
