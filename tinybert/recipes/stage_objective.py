"""What the student learns in one stage: the objective that a stage's settings describe, and what was decided on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import paddle

from tinybert import runtime
from tinybert.engine.processes import sum_over_ranks
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind, LogitOptions
from tinybert.knowledge.selection import Selection, Tokens, Width, deciding_layers, random_dims, uniform_dims
from tinybert.mapping import LayerMap
from tinybert.models.loading import LoadedModel
from tinybert.models.projections import Projection, layout_of, layouts_of, width_of
from tinybert.objectives.custom import losses_of, with_custom_losses
from tinybert.objectives.emd import emd_objective
from tinybert.objectives.layer_weights import LayerWeights
from tinybert.objectives.mud import MaskStart, SelectedHiddenLoss, selected_objective
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.relation import RelationLoss
from tinybert.objectives.tinybert import intermediate_objective, prediction_objective


class Learned(Protocol):
    """State beside the weights: told of every update, part of checkpoints under its `name`, arrays for the log."""

    name: str

    def end_step(self) -> None:
        """An update is over."""

    def observe(self) -> dict[str, np.ndarray]:
        """Arrays for the log."""

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, for a checkpoint."""

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Put it back."""


@dataclass
class StageObjective:
    """An objective; the state beside it; facts for run.json; lines to print; what of the teacher's hidden states it learns."""

    objective: Objective
    learned: Learned | None = None
    facts: dict = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    selection: Selection = Selection()


def compares_scores(settings) -> bool:
    """Whether the stage compares attention scores, and so needs heads that fit."""
    if settings.stage == "general":
        return bool(settings.use_att and settings.attention_weight)
    if settings.method == "emd" and settings.stage == "prediction" and not (settings.beta and settings.theta):
        return False
    return bool((settings.learns_layers or settings.method == "emd") and settings.use_att and settings.attention_weight)


def stage_objective(settings, kind: Kind, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
    """The objective of a stage, with the losses that the caller has handed over.

    Raises:
        UserError: nothing is left to learn, or layer map or projection do not fit the models.
    """
    chosen = _of_method(settings, kind, student, teacher)
    chosen.objective = with_custom_losses(chosen.objective, losses_of(settings.stage))
    return chosen


def _of_method(settings, kind: Kind, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
    if settings.method == "emd":
        return _emd(settings, kind, student, teacher)
    if not settings.learns_layers:
        return StageObjective(prediction_of(settings, kind))
    chosen = (_selected if settings.method == "mud" else _intermediate)(settings, student, teacher)
    if settings.joint:
        parts = [*chosen.objective.parts, *prediction_of(settings, kind).parts]
        chosen.objective = Objective(parts, chosen.objective.projection)
    return chosen


def general_objective(settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
    """The objective of general distillation, with the losses that the caller has handed over.

    Raises:
        UserError: layer map, projection or relations do not fit the models.
    """
    chosen = _of_general_method(settings, student, teacher)
    chosen.objective = with_custom_losses(chosen.objective, losses_of(settings.stage))
    return chosen


def _of_general_method(settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
    """TinyBERT's first stage, MiniLMv2's relations, or both."""
    relations, facts, lines = (), {}, []
    if settings.relation_weight:
        depths = [loaded.config.num_hidden_layers for loaded in (student, teacher)]
        widths = student.config.hidden_size, teacher.config.hidden_size
        pair = [int(number) for number in settings.relation_layers.split(":")] if settings.relation_layers else depths
        if pair[0] > depths[0] or pair[1] > depths[1]:
            raise UserError(
                f"--relation_layers {settings.relation_layers}: the student has {depths[0]} layers and the teacher {depths[1]}.\n"
                "Choose a layer that is there, or leave the option out for the last of both."
            )
        heads = settings.relation_heads or teacher.config.num_attention_heads
        relations = (Part("rela", RelationLoss((pair[0] - 1, pair[1] - 1), heads, widths), settings.relation_weight),)
        facts = {"relation": {"layers": pair, "heads": heads}}
        lines = [f"relations: student layer {pair[0]} <- teacher layer {pair[1]}, {heads} relation heads"]
    if settings.method == "relation":
        return StageObjective(Objective(list(relations)), None, facts, lines)
    chosen = _intermediate(settings, student, teacher, relations)
    return StageObjective(chosen.objective, None, {**chosen.facts, **facts}, [*chosen.lines, *lines])


def prediction_of(settings, kind: Kind) -> Objective:
    """The objective of TinyBERT's second stage, which needs no model to be checked."""
    alpha = settings.alpha if settings.use_pred else 0.0
    return prediction_objective(kind, _logit_options(settings), alpha=alpha, weight=settings.prediction_weight)


def _logit_options(settings) -> LogitOptions:
    """What has no effect beside the others is None."""
    return LogitOptions(
        settings.T or 1.0, settings.soft_ce_reduction or "sum", bool(settings.temperature_square), settings.regression_target or "teacher"
    )


def _projection(settings, student: LoadedModel, teacher: LoadedModel) -> tuple[Projection, dict, str]:
    """The projection with its weights, its facts and its line."""
    mode = settings.projection
    widths = student.config.hidden_size, teacher.config.hidden_size
    stored, origin = student.projections, "fresh"
    if mode == "auto":
        if width_of(stored) not in (None, widths[1]):
            origin = f"fresh: the checkpoint's leads to a teacher {width_of(stored)} wide, this one is {widths[1]}"
            stored = {}
        mode = layout_of(stored) or ("none" if widths[0] == widths[1] else "shared")
    paddle.seed(runtime.derive_seed(settings.seed, "projection"))
    projection = Projection(mode, student.config.num_hidden_layers, *widths)
    if mode in layouts_of(stored):
        projection.load(stored)
        origin = "from the student's checkpoint"
    return projection, {"mode": mode, "origin": origin}, f"projection: {mode}" + ("" if mode == "none" else f", {origin}")


def _intermediate(settings, student: LoadedModel, teacher: LoadedModel, more: tuple[Part, ...] = ()) -> StageObjective:
    layer_map = LayerMap.create(settings.layer_map, student.config.num_hidden_layers, teacher.config.num_hidden_layers)
    projection, fact, line = _projection(settings, student, teacher)
    objective = intermediate_objective(
        layer_map,
        projection,
        embedding_weight=settings.embedding_weight if settings.use_embedding else 0.0,
        hidden_weight=settings.hidden_weight if settings.use_rep else 0.0,
        attention_weight=settings.attention_weight if settings.use_att else 0.0,
        hidden_reduction=settings.hidden_reduction,
        attention_reduction=settings.attention_reduction,
        attention_heads=settings.attention_heads or "match",
        more=more,
    )
    needs = objective.needs_teacher.hidden
    pairs = tuple(pair for pair in layer_map.hidden if pair[1] in needs)
    selection = Selection(pairs, deciding_layers(pairs, *_depths(student, teacher), published=False))
    facts = {"projection": fact, "layer_map": layer_map.hidden}
    return StageObjective(objective, None, facts, [layer_map.table(), line], selection)


def _depths(student: LoadedModel, teacher: LoadedModel) -> tuple[int, int]:
    return student.config.num_hidden_layers, teacher.config.num_hidden_layers


def _selected(settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
    """Stage one of `--method mud`."""
    depths, width = _depths(student, teacher), teacher.config.hidden_size
    if settings.s_layer_indices:
        named = zip(settings.s_layer_indices, settings.t_layer_indices, strict=True)
        layer_map = LayerMap.create(",".join(f"{s}:{t}" for s, t in named), *depths)
    else:
        top = (settings.layer_scheme or "none").removeprefix("t_top")
        layer_map = LayerMap.grid(*depths, None if top == "none" else int(top), settings.keep_layers)
    tokens = Tokens(settings.token_scheme or "none", settings.keep_tokens or settings.max_seq_length, student.tokenizer.sep_id)
    deciding = deciding_layers(layer_map.hidden, *depths, published=bool(settings.att_ttop12))
    selection = Selection(layer_map.hidden, deciding, tokens, _width(settings, width))
    projection, fact, line = _projection(settings, student, teacher)
    fixed = bool(selection.width.dims)
    start = MaskStart() if fixed and not settings.mask_first_step else None
    loss = SelectedHiddenLoss(selection, projection, settings.mud_mask or "both", settings.hidden_reduction, start)
    facts = {
        "projection": fact,
        "layer_map": layer_map.hidden,
        "token_layers": list(deciding) if tokens.reads_scores else None,
        "kept_dimensions": list(selection.width.dims) if fixed else None,
    }
    positions = "all positions" if tokens.scheme == "none" else f"{tokens.keep} positions ({tokens.scheme})"
    chosen = selection.width
    entries = "all hidden entries" if chosen.scheme == "none" else f"{chosen.keep:.3g} of the hidden entries ({chosen.scheme})"
    lines = [layer_map.table("hidden states"), f"knowledge: {len(layer_map.hidden)} entries, {positions}, {entries}", line]
    return StageObjective(selected_objective(loss, settings.hidden_weight), start, facts, lines, selection)


def _width(settings, width: int) -> Width:
    scheme, keep = settings.hidden_scheme or "none", settings.keep_hidden or 1.0
    dims: tuple[int, ...] = ()
    if scheme == "uniform_mask":
        dims = uniform_dims(width, keep)
        if not dims:
            raise UserError(f"--keep_hidden {keep:g} keeps none of {width} dimensions.\nKeep at least {1 / width:.2g} of them.")
    elif scheme == "rand_mask":
        dims = random_dims(width, keep, runtime.derive_seed(settings.seed, "hidden mask"))
    return Width(scheme, keep, dims, settings.mask_threshold or "example")


def _emd(settings, kind: Kind, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
    layers = student.config.num_hidden_layers, teacher.config.num_hidden_layers
    theta = settings.theta or 0.0  # what has no effect beside the others is None
    attention, hidden, embedding = (
        weight if used and weight else 0.0
        for used, weight in (
            (settings.use_att and theta, settings.attention_weight),
            (settings.use_rep and theta, settings.hidden_weight),
            (settings.use_embedding, settings.embedding_weight),
        )
    )
    weights = LayerWeights(
        *layers,
        kinds=tuple(part for part, used in (("attn", attention), ("hidn", hidden)) if used),
        rule=settings.emd_rule or "division",
        temperature=settings.T_emd or 1.0,
        merge=not settings.seperate,
        second_softmax=bool(settings.add_softmax),
        update=bool(settings.update_weight),
        every=settings.emd_update_steps or 1,
        over_ranks=sum_over_ranks,
    )
    projection, facts, lines = None, {}, []
    if attention or hidden:
        lines.append(f"transport: {layers[0]} layers of the student onto {layers[1]} of the teacher")
    if settings.beta and (hidden or embedding):
        projection, fact, line = _projection(settings, student, teacher)
        facts["projection"] = fact
        lines.append(line)
    objective = emd_objective(
        layers,
        weights,
        projection,
        kind,
        _logit_options(settings),
        beta=settings.beta,
        theta=theta,
        attention=attention,
        hidden=hidden,
        embedding=embedding,
        prediction=settings.prediction_weight,
        alpha=(settings.alpha or 0.0) if settings.use_pred else 0.0,
        reduce_temperature=settings.reduce_T or 1.0,
        new_prediction_loss=not settings.use_pred or bool(settings.new_pred_loss),
        attention_reduction=settings.attention_reduction or "masked",
        attention_heads=settings.attention_heads or "match",
        hidden_reduction=settings.hidden_reduction or "masked",
    )
    return StageObjective(objective, weights, facts, lines)
