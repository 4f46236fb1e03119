"""Shared options of methods: how embedding, hidden states and attention are learned, weighted, mapped and projected."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.groups import in_conventions
from tinybert.config.options import Options, option
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.mapping import NAMES as LAYER_MAPS

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel
    from tinybert.models.projections import Projection

in_losses = partial(option, group="losses", setting=True, learnt="layers")
in_layer_conventions = partial(in_conventions, learnt="layers")
_SWITCHES = {
    "embedding": ("use_embedding", "embedding_weight"),
    "hidden": ("use_rep", "hidden_weight"),
    "attention": ("use_att", "attention_weight"),
}


def part_off(context: Context, part: str) -> str | None:
    """Why `embedding`, `hidden` or `attention` is not learned; None if it is, or if the method has no switch for it."""
    switch, weight = _SWITCHES[part]
    if switch not in context.method.options():
        return f"--method {context.method.name} has no {part} loss"
    if not context.values[switch]:
        return f"{switch} is off"
    return f"{weight} is 0" if context.values[weight] == 0 else None


def part_weights(settings: Settings) -> dict[str, float]:
    """The weight of each term in the objective, 0 if disabled."""
    return {part: (settings.get(weight) or 0.0) if settings.get(switch) else 0.0 for part, (switch, weight) in _SWITCHES.items()}


def all_off(context: Context, *parts: str) -> str | None:
    """Why none of these terms is learned; None if one is."""
    reasons = [part_off(context, part) for part in parts]
    return " and ".join(map(str, reasons)) if all(reasons) else None


def _switched(switch: str) -> Callable[[Context], str | None]:
    return lambda context: None if context.values[switch] else f"{switch} is off"


def _no_states(context: Context) -> str | None:
    return all_off(context, "embedding", "hidden")


def _no_attention(context: Context) -> str | None:
    return part_off(context, "attention")


class Projected(Options):
    """The projection between layers, for methods whose layer losses cannot be disabled."""

    projection: str | None = in_losses(
        None,
        help="projection of student hidden states to the teacher's hidden size: shared, per_layer, none, or auto (as stored in the student "
        "checkpoint)",
        choices=("auto", "shared", "per_layer", "none"),
    )


class HiddenLosses(Options):
    """The loss of hidden states, and its projection."""

    projection: str | None = replace(Projected.projection, part="states", no_effect=_no_states)
    hidden_weight: float = in_losses(1.0, help="weight of the hidden-state loss", at_least=0, part="hidden", no_effect=_switched("use_rep"))
    use_rep: bool = in_losses(True, help="whether to learn the hidden states")
    hidden_reduction: str | None = in_layer_conventions(
        None,
        help="hidden states of padding: excluded (masked), or included in the mean (mean)",
        choices=("masked", "mean"),
        part="states",
        no_effect=_no_states,
    )


class LayerLosses(HiddenLosses):
    """TinyBERT's losses of embedding, hidden states and attention."""

    embedding_weight: float = in_losses(
        1.0, help="weight of the embedding loss", at_least=0, part="embedding", no_effect=_switched("use_embedding")
    )
    attention_weight: float = in_losses(
        1.0, help="weight of the attention loss", at_least=0, part="attention", no_effect=_switched("use_att")
    )
    use_embedding: bool = in_losses(True, help="whether to learn the embedding output")
    use_att: bool = in_losses(True, help="whether to learn the attention scores")
    attention_reduction: str | None = in_layer_conventions(
        None,
        help="attention scores of padding: excluded (masked), counted as 0 (zeroed), or compared unchanged (raw)",
        choices=("masked", "zeroed", "raw"),
        part="attention",
        no_effect=_no_attention,
    )
    attention_heads: str | None = in_layer_conventions(
        None,
        help="if the numbers of heads differ: raise an error (match), or compare averages over heads (average)",
        choices=("match", "average"),
        part="attention",
        no_effect=_no_attention,
    )


class MappedLayers(Options):
    """The layer map."""

    layer_map: str | None = in_losses(
        None,
        help="teacher layer for each student entry: " + ", ".join(LAYER_MAPS) + ", or pairs student:teacher",
        metavar="NAME|0:0,1:3,2:6",
    )


def check_layer_map(text: str | None) -> None:
    """Reject a layer map that is neither a known name nor a list of pairs.

    Raises:
        UserError: says what is expected.
    """
    if text and text not in LAYER_MAPS and not re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        raise UserError(f"--layer_map got {text!r}\nexpected one of {', '.join(LAYER_MAPS)}, or pairs student:teacher such as 0:0,1:3,2:6")


def depths(student: LoadedModel, teacher: LoadedModel) -> tuple[int, int]:
    """The numbers of layers of both models."""
    return student.config.num_hidden_layers, teacher.config.num_hidden_layers


def make_projection(settings: Settings, student: LoadedModel, teacher: LoadedModel) -> tuple[Projection, dict, str]:
    """The projection with its weights, its entries for run.json, and its log line."""
    import paddle

    from tinybert import runtime
    from tinybert.models.projections import Projection, layout_of, layouts_of, width_of

    mode = settings.projection
    widths = student.config.hidden_size, teacher.config.hidden_size
    stored, origin = student.projections, "fresh"
    if mode == "auto":
        if width_of(stored) not in (None, widths[1]):
            origin = f"new: the checkpoint's projection is for a teacher of width {width_of(stored)}, this one has {widths[1]}"
            stored = {}
        mode = layout_of(stored) or ("none" if widths[0] == widths[1] else "shared")
    paddle.seed(runtime.derive_seed(settings.seed, "projection"))
    projection = Projection(mode, student.config.num_hidden_layers, *widths)
    if mode in layouts_of(stored):
        projection.load(stored)
        origin = "from the student's checkpoint"
    return projection, {"mode": mode, "origin": origin}, f"projection: {mode}" + ("" if mode == "none" else f", {origin}")
