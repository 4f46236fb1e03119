"""MiniLMv2's relations of one layer in general distillation, alone or combined with TinyBERT's losses."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from tinybert.config.options import Derived, Options, option
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.methods.layer_losses import depths
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel

in_losses = partial(option, group="losses", setting=True, commands=("general",))


def _weight(context: Context) -> Derived | None:
    if context.relation_weight is not None:
        return None
    return Derived(1.0 if isinstance(context.method, Relation) else 0.0, f"method {context.method.name}")


def _weightless(context: Context) -> str | None:
    return None if context.relation_weight else "--relation_weight is 0"


class RelationLosses(Options):
    """The relation loss, and its layers."""

    relation_weight: float | None = in_losses(
        None,
        help="weight of the relation loss (query-query, key-key, value-value)",
        unset="1 with method relation, else 0",
        at_least=0,
        derived=_weight,
    )
    relation_heads: int | None = in_losses(
        None,
        help="number of heads of the relation loss; must divide both widths",
        unset="the teacher's heads",
        at_least=1,
        no_effect=_weightless,
    )
    relation_layers: str | None = in_losses(
        None,
        help="layers of the relation loss, counted from 1",
        metavar="STUDENT:TEACHER",
        unset="the last layers of both",
        no_effect=_weightless,
    )


def check_relation_layers(config: Any, name: str = "relation_layers") -> None:
    """Reject a malformed pair of layers.

    Raises:
        UserError: says what is expected.
    """
    layers = getattr(config, name)
    if layers is not None and not re.fullmatch(r"[1-9]\d*:[1-9]\d*", layers):
        raise UserError(f"--{name} got {layers!r}\nexpected STUDENT:TEACHER, counted from 1, such as 4:6")


@register
class Relation(DistillationMethod, RelationLosses):
    """Only relations (Wang et al. 2020, MiniLMv2)."""

    name = "relation"
    help = "MiniLMv2's relations of one layer"
    commands = ("general",)

    def check(self, config: Any) -> None:
        """Reject a malformed pair of layers."""
        check_relation_layers(config)

    def check_stage(self, context: Context) -> None:
        """Reject a weight of 0."""
        if not context.relation_weight:
            raise UserError("with --relation_weight 0, --method relation has nothing to learn\ngive another weight, or --method tinybert")

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
        """The relation loss."""
        return relation_stage(student, teacher, settings.relation_layers, settings.relation_heads, settings.relation_weight)


def relation_stage(
    student: LoadedModel, teacher: LoadedModel, layers: str | None, heads: int | None, weight: float = 1.0
) -> StageObjective:
    """The relation loss of one layer of each model. layers: `STUDENT:TEACHER`; None: the last layers.

    Raises:
        UserError: a layer does not exist, or the heads do not divide the widths.
    """
    from tinybert.objectives.objective import Objective, Part
    from tinybert.objectives.relation import RelationLoss

    last = depths(student, teacher)
    pair = tuple(int(number) for number in layers.split(":")) if layers else last
    if pair[0] > last[0] or pair[1] > last[1]:
        raise UserError(
            f"relations of the layers {layers}: the student has {last[0]} layers and the teacher {last[1]}.\n"
            "Choose existing layers, or leave out the option for the last layers of both."
        )
    heads = heads or teacher.config.num_attention_heads
    loss = RelationLoss((pair[0] - 1, pair[1] - 1), heads, (student.config.hidden_size, teacher.config.hidden_size))
    line = f"relations: student layer {pair[0]} <- teacher layer {pair[1]}, {heads} relation heads"
    return StageObjective(Objective([Part("rela", loss, weight)]), None, {"relation": {"layers": list(pair), "heads": heads}}, [line])
