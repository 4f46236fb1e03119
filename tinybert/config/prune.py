"""The options of pruning: at once (`python -m tinybert prune`), or little by little during distillation (`--prune_schedule`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.dialects import MUD
from tinybert.config.notices import Notice
from tinybert.config.options import Config, option
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig
    from tinybert.config.resolve import Context

ROSITA = "ROSITA"
BOTH = f"{MUD}, {ROSITA}"
LAYER_RULES = ("bottom", "top", "uniform")
in_models = partial(option, group="models")
in_pruning = partial(option, group="pruning", setting=True)


class KeptOptions(Config):
    """How much of a model stays."""

    keep_heads: int | None = in_pruning(None, help="attention heads that stay in each layer, the most important", unset="all", at_least=1)
    ffn_hidden_dim: int | None = in_pruning(
        None, help="feed-forward neurons that stay in each layer, the most important", unset="all", at_least=1
    )
    num_layers: int | None = in_pruning(None, help="layers that stay", unset="all", at_least=1)
    emb_hidden_dim: int | None = in_pruning(
        None, help="rank of the word embedding, a product of two thin matrices then; -1: whole", unset="whole", at_least=-1
    )

    def check(self) -> list[Notice]:
        """Refuse a rank of 0."""
        if self.emb_hidden_dim == 0:
            raise UserError("--emb_hidden_dim got 0\nexpected a rank of at least 1, or -1 for the whole embedding")
        return super().check()


class PruneScheduleOptions(KeptOptions):
    """Pruning during distillation."""

    prune_schedule: str | None = in_pruning(
        None,
        help="prune while distilling, a little at a time: heads, neurons and rank (width), layers from the top (depth), or first layers, "
        "then the rest (both)",
        choices=("width", "depth", "both"),
        unset="no pruning",
    )
    prune_period_proportion: float = in_pruning(
        0.1, help="share of the updates in which prune_schedule prunes; the rest train the final shape", above=0, at_most=1
    )


SCHEDULE_OPTIONS = tuple(PruneScheduleOptions.options())
_WIDTH = ("keep_heads", "ffn_hidden_dim", "emb_hidden_dim")


def schedule_off(context: Context, name: str) -> str | None:
    """Why one of these options has no effect: the first stage of a run prunes."""
    if context.prune_schedule is None:
        return "only --prune_schedule reads it"
    if context.stage != context.stages[0]:
        return f"the {context.stages[0]} stage prunes"
    return "it is not asked for" if context.values[name] is None else None


def check_schedule(config: TaskDistillConfig) -> None:
    """Refuse what to keep without a schedule, a schedule without it, and what cannot change its shape.

    Raises:
        UserError: says which options do not go together.
    """
    kind = config.prune_schedule
    if kind is None:
        alone = [name for name in SCHEDULE_OPTIONS if name in config.given]
        if alone:
            raise UserError(
                f"--{alone[0]} belongs to --prune_schedule, which is not asked for\n"
                "add --prune_schedule width, depth or both; to prune at once and before, use python -m tinybert prune"
            )
        return
    if not config.method_object.prunes:
        raise UserError(
            f"--prune_schedule and --method {config.method} do not go together: what it learns about layers has the student's shape\n"
            "prune with another method; or prune at once (python -m tinybert prune), then use it"
        )
    wide, deep = [name for name in _WIDTH if name in config.given], "num_layers" in config.given
    if kind != "depth" and not wide:
        raise UserError(f"--prune_schedule {kind} needs --keep_heads, --ffn_hidden_dim or --emb_hidden_dim: what is to stay in the end")
    if kind != "width" and not deep:
        raise UserError(f"--prune_schedule {kind} needs --num_layers: how many layers are to stay in the end")
    left_over = [*(wide if kind == "depth" else []), *(["num_layers"] if deep and kind == "width" else [])]
    if left_over:
        raise UserError(f"--prune_schedule {kind} does not read --{left_over[0]}\nuse --prune_schedule both, or leave it out")
    if config.amp:
        raise UserError("--prune_schedule and --amp do not go together: scaled gradients have no common scale\nleave one of them out")
