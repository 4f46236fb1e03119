"""The options of general distillation, and which of them have no effect beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tinybert.config.options import option
from tinybert.config.parts import part_reasons
from tinybert.errors import UserError

in_stage = partial(option, group="stage and method")
RELATION = ("relation_heads", "relation_layers")
INTERMEDIATE = (
    "layer_map", "projection", "use_embedding", "use_rep", "use_att", "embedding_weight", "hidden_weight",
    "attention_weight", "attention_reduction", "attention_heads", "hidden_reduction",
)  # fmt: skip


def general_reasons(values: Mapping[str, object], method: str, pregenerated: bool) -> dict[str, str]:
    """Name and reason of settings that have no effect in this run.

    Raises:
        UserError: nothing is left to learn.
    """
    found: dict[str, str] = {}
    if values["sequences"] and pregenerated:
        found["sequences"] = "pregenerated_data has its rows already"
    if method == "relation":
        found |= dict.fromkeys(INTERMEDIATE, "--method relation learns relations alone")
        if not values["relation_weight"]:
            raise UserError("--relation_weight 0 leaves --method relation nothing to learn\ngive another weight, or --method tinybert")
        return found
    if not values["relation_weight"]:
        found |= dict.fromkeys(RELATION, "--relation_weight is 0")
        if not (values["use_embedding"] or values["use_rep"] or values["use_att"]):
            raise UserError("nothing is left to learn: use_embedding, use_rep and use_att are all off\nleave one of them on")
    return {**found, **part_reasons(values)}
