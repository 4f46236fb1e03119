"""What a command line resolves to, down to the settings of each stage, without a model or a file."""

from __future__ import annotations

import dataclasses
import re

from tinybert.cli.flags_page import scripts
from tinybert.cli.parser import parse
from tinybert.commands.augment import AugmentConfig
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.commands.general import GeneralDistillConfig
from tinybert.commands.pregenerate import PregenerateConfig
from tinybert.commands.pretrain import PretrainConfig
from tinybert.commands.prune import PruneConfig, resolve_prune
from tinybert.config.options import Config
from tinybert.config.runs import actions
from tinybert.config.stages import infer_stage
from tinybert.kinds.registry import DEFAULT, KINDS


def settled(config: Config) -> dict:
    """The settings as resolved by the recipe, for a task of pairs and a student with 4 layers; empty if there are none."""
    match config:
        case TaskDistillConfig():
            stage = infer_stage(config).stage if actions(config).train else "prediction"
            scores = config.kind == "regression" or config.task_name.lower().replace("-", "") == "stsb"
            return config.resolve(config.task_name, KINDS["regression"] if scores else DEFAULT, 4).as_dict() | {"stage": stage}
        case FinetuneConfig():
            return config.resolve(config.task_name).as_dict()
        case GeneralDistillConfig():
            return config.resolve(None if config.pregenerated_data is None else 128).as_dict()
        case PretrainConfig():
            return config.resolve().as_dict()
        case AugmentConfig():
            return config.resolve(config.task_name, False).as_dict()
        case PregenerateConfig():
            return config.resolve().as_dict()
        case PruneConfig():
            return {"stages": {"prune": dataclasses.asdict(resolve_prune(config))}}
    return {}


def _given(parsed: Config, name: str) -> object:
    """A given value; a single one of an option that has taken one value in 0.1 and now takes several is not a list."""
    value = getattr(parsed, name)
    return value[0] if parsed.options()[name].whole and len(value) == 1 else value


def outcome(script: str, words: list[str]) -> dict:
    """The given options, the settings of each stage with their sources, unused options, and the codes of all warnings."""
    parsed = parse(scripts()[script], words)
    found = settled(parsed)
    values = {}
    for stage, settings in found.get("stages", {}).items():
        sources = settings.pop("sources")
        for name, value in settings.items():
            if value is not None or name in sources:  # settings that do not apply have no value
                source = sources.get(name)
                values[f"{stage}.{name}"] = [value, source and re.sub("preset [a-z]+", "preset", source)]
    return {
        "values": values,
        "given": {name: _given(parsed, name) for name in sorted(parsed.given)},
        "unused": sorted(entry["name"] for entry in found.get("unused", ())),
        "codes": sorted({*found.get("codes", ()), *(notice.code for notice in parsed.notices)}),
        "stage": found.get("stage"),
    }
