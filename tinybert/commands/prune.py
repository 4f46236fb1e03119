"""Pruning a fine-tuned model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.dialects import MUD
from tinybert.config.groups import in_models, in_run, threads_option
from tinybert.config.notices import Notice
from tinybert.config.options import Alias
from tinybert.config.prune import KeptOptions, in_pruning
from tinybert.errors import UserError

LAYER_RULES = ("bottom", "top", "uniform")
# what the published scripts keep by default
_PUBLISHED = {"keep_heads": 2, "num_layers": 6, "ffn_hidden_dim": 768, "emb_hidden_dim": 128}


@command("prune", summary="prune a fine-tuned model to a smaller student", recipe="prune:prune")
class PruneConfig(KeptOptions):
    """Prune a fine-tuned model to a student with fewer heads, neurons and layers and a factorised embedding. -name works like --name."""

    GROUPS = ("models", "pruning", "run")
    SINGLE_DASH = True

    model_path: str = in_models(help="folder of the fine-tuned model; for the output folder of a run, its best model is used")
    task_name: str | None = in_models(
        None,
        help="the model's task; importance scores of another task are refused",
        alias=(Alias("task", f"{MUD}, ROSITA"),),
        unset="the task of the importance scores",
    )
    importance: Path | None = in_models(
        None,
        help="folder of the importance scores written by tinybert finetune --compute_taylor",
        unset="importance_score in model_path",
    )
    layers: str | None = in_pruning(
        None,
        help="layers to keep: the first (bottom), the last (top), evenly spaced (uniform), or layer numbers counted from 1",
        metavar=f"{'|'.join(LAYER_RULES)}|1,3,5",
        unset="bottom",
    )
    preset: str = in_run(
        "sound",
        help="sound: only what is given is pruned; rosita: the published script's values (2 heads, 6 layers, 768 neurons, rank 128)",
        choices=("sound", "rosita"),
    )
    output_dir: Path = in_run(help="output folder")
    name_by_shape: bool = in_run(
        False, help="write to a subfolder of output_dir named after the shape, such as a2_l6_f768_e128, like ROSITA's script"
    )
    overwrite_output_dir: bool = in_run(False, help="replace an earlier model in output_dir")
    threads: int | None = threads_option()

    def check(self) -> list[Notice]:
        """Reject a malformed list of layers."""
        notes = super().check()
        if self.layers is None or self.layers in LAYER_RULES:
            return notes
        numbers = [int(number) for number in self.layers.split(",")] if re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", self.layers) else []
        if not numbers or sorted(set(numbers)) != numbers:
            raise UserError(
                f"--layers got {self.layers!r}\nexpected {', '.join(LAYER_RULES)}, or different numbers in ascending order such as 1,3,5"
            )
        if self.num_layers not in (None, len(numbers)):
            raise UserError(
                f"--layers {self.layers} lists {len(numbers)} layers, but --num_layers is {self.num_layers}\ngive only one of them"
            )
        return notes


@dataclass(frozen=True)
class PruneSettings:
    """What to keep, None for all; and whether every layer keeps heads by the scores of the first layer when no neurons are pruned."""

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


def resolve_prune(config: PruneConfig) -> PruneSettings:
    """The settings of a pruning: explicit options, else the preset's."""
    published = config.preset == "rosita"
    numbers = config.layers is not None and config.layers not in LAYER_RULES
    values: dict[str, int | None] = {}
    sources = {"layers": "default" if config.layers is None else "given"}
    for name, number in _PUBLISHED.items():
        asked = getattr(config, name)
        if asked is not None:
            values[name], sources[name] = asked, "given"
        elif name == "num_layers" and numbers:
            values[name], sources[name] = len(config.layers.split(",")), "from layers"
        else:
            values[name], sources[name] = number if published else None, f"preset {config.preset}"
    if values["emb_hidden_dim"] == -1:
        values["emb_hidden_dim"] = None
    return PruneSettings(**values, layers=config.layers or "bottom", standing_counter=published, sources=sources)
