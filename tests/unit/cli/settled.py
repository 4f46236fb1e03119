"""What a command line comes to, down to the settings of each stage, without a model or a file."""

from __future__ import annotations

import dataclasses
import re

from tinybert.cli.flags_page import SCRIPTS
from tinybert.cli.parser import parse
from tinybert.config.arguments import FinetuneArguments, GeneralDistillArguments, TaskDistillArguments
from tinybert.config.augment import AugmentArguments, resolve_augment
from tinybert.config.groups import actions
from tinybert.config.options import Arguments
from tinybert.config.pregenerate import PregenerateArguments, resolve_pregenerate
from tinybert.config.prune import PruneArguments, resolve_prune
from tinybert.config.resolve import resolve, resolve_finetune, resolve_general
from tinybert.config.stages import infer_stage
from tinybert.kinds.registry import DEFAULT, KINDS


def settled(arguments: Arguments, given: set[str], spelled: dict[str, str]) -> dict:
    """The settings as the recipe resolves them, for a task of pairs and a student of 4 layers; empty where there are none."""
    match arguments:
        case TaskDistillArguments():
            stage = infer_stage(arguments, spelled).stage if actions(arguments).train else "prediction"
            scores = arguments.kind == "regression" or arguments.task_name.lower().replace("-", "") == "stsb"
            kind = KINDS["regression"] if scores else DEFAULT
            return resolve(arguments, given, stage, arguments.task_name, kind, 4).as_dict() | {"stage": stage}
        case FinetuneArguments():
            return resolve_finetune(arguments, given, arguments.task_name).as_dict()
        case GeneralDistillArguments():
            return resolve_general(arguments, given, None if arguments.pregenerated_data is None else 128).as_dict()
        case AugmentArguments():
            return resolve_augment(arguments, given, arguments.task_name, False).as_dict()
        case PregenerateArguments():
            return resolve_pregenerate(arguments, given).as_dict()
        case PruneArguments():
            return {"stages": {"prune": dataclasses.asdict(resolve_prune(arguments))}}
    return {}


def outcome(script: str, words: list[str]) -> dict:
    """What was given, the settings of each stage with their sources, the options without effect, and the codes of all warnings."""
    parsed = parse(SCRIPTS[script], words)
    found = settled(parsed.arguments, parsed.given, parsed.spelled)
    values = {}
    for stage, settings in found.get("stages", {}).items():
        sources = settings.pop("sources")
        for name, value in settings.items():
            if value is not None or name in sources:  # what does not apply has no value
                source = sources.get(name)
                values[f"{stage}.{name}"] = [value, source and re.sub("preset [a-z]+", "preset", source)]
    return {
        "values": values,
        "given": {name: getattr(parsed.arguments, name) for name in sorted(parsed.given)},
        "unused": sorted(entry["name"] for entry in found.get("unused", ())),
        "codes": sorted({*found.get("codes", ()), *parsed.codes}),
        "stage": found.get("stage"),
    }
