"""The options of pruning: at once (`python -m tinybert prune`), or little by little during distillation (`--prune_schedule`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.config.dialects import MUD
from tinybert.config.groups import in_run, threads_option
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Arguments, flag
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.config.arguments import TaskDistillArguments

ROSITA = "ROSITA"
BOTH = f"{MUD}, {ROSITA}"
LAYER_RULES = ("bottom", "top", "uniform")
in_models = partial(flag, group="models")
in_pruning = partial(flag, group="pruning")
# what the published scripts keep when nothing is said
_PUBLISHED = {"keep_heads": 2, "num_layers": 6, "ffn_hidden_dim": 768, "emb_hidden_dim": 128}


@dataclass(kw_only=True)
class KeptArguments(Arguments):
    """How much of a model stays."""

    keep_heads: int | None = in_pruning(None, help="attention heads that stay in each layer, the most important", unset="all", at_least=1)
    ffn_hidden_dim: int | None = in_pruning(
        None, help="feed-forward neurons that stay in each layer, the most important", unset="all", at_least=1
    )
    num_layers: int | None = in_pruning(None, help="layers that stay", unset="all", at_least=1)
    emb_hidden_dim: int | None = in_pruning(
        None, help="rank of the word embedding, a product of two thin matrices then; -1: whole", unset="whole", at_least=-1
    )

    def check(self, given: set[str], spelled: dict[str, str]) -> list[Notice]:
        """Refuse a rank of 0."""
        if self.emb_hidden_dim == 0:
            raise UserError("--emb_hidden_dim got 0\nexpected a rank of at least 1, or -1 for the whole embedding")
        return super().check(given, spelled)


@dataclass(kw_only=True)
class PruneScheduleArguments(KeptArguments):
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


SCHEDULE_OPTIONS = tuple(field.name for field in fields(PruneScheduleArguments))
_WIDTH = ("keep_heads", "ffn_hidden_dim", "emb_hidden_dim")


def check_schedule(arguments: TaskDistillArguments, given: set[str]) -> None:
    """Refuse what to keep without a schedule, a schedule without it, and what cannot change its shape.

    Raises:
        UserError: says which options do not go together.
    """
    kind = arguments.prune_schedule
    if kind is None:
        alone = [name for name in SCHEDULE_OPTIONS if name in given]
        if alone:
            raise UserError(
                f"--{alone[0]} belongs to --prune_schedule, which is not asked for\n"
                "add --prune_schedule width, depth or both; to prune at once and before, use python -m tinybert prune"
            )
        return
    if arguments.method not in ("tinybert", "logits", "none"):
        raise UserError(
            f"--prune_schedule and --method {arguments.method} do not go together: what it learns about layers has the student's shape\n"
            "prune with --method tinybert or logits; or prune at once (python -m tinybert prune), then use it"
        )
    wide, deep = [name for name in _WIDTH if name in given], "num_layers" in given
    if kind != "depth" and not wide:
        raise UserError(f"--prune_schedule {kind} needs --keep_heads, --ffn_hidden_dim or --emb_hidden_dim: what is to stay in the end")
    if kind != "width" and not deep:
        raise UserError(f"--prune_schedule {kind} needs --num_layers: how many layers are to stay in the end")
    left_over = [*(wide if kind == "depth" else []), *(["num_layers"] if deep and kind == "width" else [])]
    if left_over:
        raise UserError(f"--prune_schedule {kind} does not read --{left_over[0]}\nuse --prune_schedule both, or leave it out")
    if arguments.amp:
        raise UserError("--prune_schedule and --amp do not go together: scaled gradients have no common scale\nleave one of them out")


@dataclass(kw_only=True)
class PruneArguments(KeptArguments):
    """Cut a fine-tuned model down to a student: fewer heads, neurons and layers, a factorised embedding. -name works like --name."""

    GROUPS = ("models", "pruning", "run")
    SINGLE_DASH = True

    model_path: str = in_models(help="the folder of the fine-tuned model; the output folder of a run means its best model")
    task_name: str | None = in_models(
        None,
        help="the task of the model; importance scores of another one are refused",
        alias=(Alias("task", BOTH),),
        unset="that of the importance scores",
    )
    importance: Path | None = in_models(
        None,
        help="the folder of the importance scores that run_glue.py leaves with --compute_taylor",
        unset="importance_score in model_path",
    )
    layers: str | None = in_pruning(
        None,
        help="which layers stay: the first (bottom), the last (top), evenly spread (uniform), or numbers counted from 1",
        metavar=f"{'|'.join(LAYER_RULES)}|1,3,5",
        unset="bottom",
    )
    preset: str = in_run(
        "sound",
        help="sound: what is not given stays whole; rosita: the published script's numbers (2 heads, 6 layers, 768 neurons, rank 128), "
        "and its choice of heads where all neurons stay: every layer by the scores of the first",
        choices=("sound", "rosita"),
    )
    output_dir: Path = in_run(help="the folder of the result")
    name_by_shape: bool = in_run(
        False, help="write into a sub-folder of output_dir named by the shape, such as a2_l6_f768_e128, as ROSITA's script does"
    )
    overwrite_output_dir: bool = in_run(False, help="replace an earlier model in output_dir")
    threads: int | None = threads_option()

    def check(self, given: set[str], spelled: dict[str, str]) -> list[Notice]:
        """Refuse a malformed choice of layers."""
        notes = super().check(given, spelled)
        if self.layers is None or self.layers in LAYER_RULES:
            return notes
        numbers = [int(number) for number in self.layers.split(",")] if re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", self.layers) else []
        if not numbers or sorted(set(numbers)) != numbers:
            raise UserError(
                f"--layers got {self.layers!r}\nexpected {', '.join(LAYER_RULES)}, or different numbers in rising order such as 1,3,5"
            )
        if self.num_layers not in (None, len(numbers)):
            raise UserError(f"--layers {self.layers} are {len(numbers)} layers, --num_layers says {self.num_layers}\ngive one of them")
        return notes


@dataclass(frozen=True)
class PruneSettings:
    """What is to stay, None for all; and whether every layer keeps heads by the scores of the first where no neuron goes."""

    keep_heads: int | None
    num_layers: int | None
    ffn_hidden_dim: int | None
    emb_hidden_dim: int | None
    layers: str
    standing_counter: bool
    sources: dict[str, str]

    def as_text(self) -> str:
        """Name, value and source as aligned lines."""
        shown = {name: getattr(self, name) for name in (*_PUBLISHED, "layers")}
        return "\n".join(f"{name:<16}{'all' if value is None else value!s:<10}{self.sources[name]}" for name, value in shown.items())


def resolve_prune(arguments: PruneArguments) -> PruneSettings:
    """The settings of a pruning: what was given, else the preset's."""
    published = arguments.preset == "rosita"
    numbers = arguments.layers is not None and arguments.layers not in LAYER_RULES
    values: dict[str, int | None] = {}
    sources = {"layers": "default" if arguments.layers is None else "given"}
    for name, number in _PUBLISHED.items():
        asked = getattr(arguments, name)
        if asked is not None:
            values[name], sources[name] = asked, "given"
        elif name == "num_layers" and numbers:
            values[name], sources[name] = len(arguments.layers.split(",")), "from layers"
        else:
            values[name], sources[name] = number if published else None, f"preset {arguments.preset}"
    if values["emb_hidden_dim"] == -1:
        values["emb_hidden_dim"] = None
    return PruneSettings(**values, layers=arguments.layers or "bottom", standing_counter=published, sources=sources)
