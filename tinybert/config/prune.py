"""The options of pruning: in one step (`tinybert prune`), or gradually during distillation (`--prune_schedule`)."""

from __future__ import annotations

from functools import partial

from tinybert.config.notices import Notice
from tinybert.config.options import Config, option
from tinybert.config.resolve import Context
from tinybert.errors import UserError

in_pruning = partial(option, group="pruning", setting=True)


class KeptOptions(Config):
    """How much of a model to keep."""

    keep_heads: int | None = in_pruning(
        None, help="number of attention heads to keep in each layer, the most important ones", unset="all of them", at_least=1
    )
    ffn_hidden_dim: int | None = in_pruning(
        None, help="number of feed-forward neurons to keep in each layer, the most important ones", unset="all of them", at_least=1
    )
    num_layers: int | None = in_pruning(None, help="number of layers to keep", unset="all of them", at_least=1)
    emb_hidden_dim: int | None = in_pruning(
        None, help="rank of the word embedding as a product of two matrices; -1: full matrix", unset="whole", at_least=-1
    )

    def check(self) -> list[Notice]:
        """Reject a rank of 0."""
        if self.emb_hidden_dim == 0:
            raise UserError("--emb_hidden_dim got 0\nexpected a rank of at least 1, or -1 for the full embedding")
        return super().check()


class PruneScheduleOptions(KeptOptions):
    """Pruning during distillation."""

    prune_schedule: str | None = in_pruning(
        None,
        help="gradual pruning during distillation: width (heads, FFN neurons, embedding rank), depth (top layers), or both (depth first)",
        choices=("width", "depth", "both"),
        unset="no pruning",
    )
    prune_period_proportion: float = in_pruning(
        0.1, help="share of the updates during which prune_schedule prunes; the rest train the final shape", above=0, at_most=1
    )

    def check(self) -> list[Notice]:
        """Reject pruning targets without a schedule, a schedule without targets, and methods that cannot be pruned."""
        notes = super().check()
        kind = self.prune_schedule
        if kind is None:
            alone = [name for name in SCHEDULE_OPTIONS if name in self.given]
            if alone:
                raise UserError(
                    f"--{alone[0]} needs --prune_schedule\n"
                    "add --prune_schedule width, depth or both; to prune in one step before distillation, use tinybert prune"
                )
            return notes
        if not self.method_object.prunes:
            raise UserError(
                f"--prune_schedule and --method {self.method} cannot be combined: its layer weights depend on the student's shape\n"
                "prune with another method, or prune first (tinybert prune) and then use it"
            )
        wide, deep = [name for name in _WIDTH if name in self.given], "num_layers" in self.given
        if kind != "depth" and not wide:
            raise UserError(f"--prune_schedule {kind} needs --keep_heads, --ffn_hidden_dim or --emb_hidden_dim: the target size")
        if kind != "width" and not deep:
            raise UserError(f"--prune_schedule {kind} needs --num_layers: the number of layers to keep")
        left_over = [*(wide if kind == "depth" else []), *(["num_layers"] if deep and kind == "width" else [])]
        if left_over:
            raise UserError(f"--prune_schedule {kind} does not use --{left_over[0]}\nuse --prune_schedule both, or leave it out")
        if self.amp:
            raise UserError("--prune_schedule and --amp cannot be combined: gradients would have different scales\nleave out one of them")
        return notes


SCHEDULE_OPTIONS = tuple(PruneScheduleOptions.options())
_WIDTH = ("keep_heads", "ffn_hidden_dim", "emb_hidden_dim")


def schedule_off(context: Context, name: str) -> str | None:
    """Why one of these options has no effect: only the first stage of a run prunes."""
    if context.prune_schedule is None:
        return "only --prune_schedule uses it"
    if context.stage != context.stages[0]:
        return f"pruning happens in the {context.stages[0]} stage"
    return "it is not asked for" if context.values[name] is None else None
