"""What a command line comes to, down to the settings of each stage, without a model or a file."""

from __future__ import annotations

import dataclasses

from tinybert.config.arguments import FinetuneArguments, GeneralDistillArguments, TaskDistillArguments
from tinybert.config.augment import AugmentArguments, resolve_augment
from tinybert.config.groups import actions
from tinybert.config.options import Arguments
from tinybert.config.pregenerate import PregenerateArguments, resolve_pregenerate
from tinybert.config.prune import PruneArguments, resolve_prune
from tinybert.config.resolve import resolve, resolve_finetune, resolve_general
from tinybert.config.stages import infer_stage


def settled(arguments: Arguments, given: set[str], spelled: dict[str, str]) -> dict:
    """The settings as the recipe resolves them, for a task of pairs and a student of 4 layers; empty where there are none."""
    match arguments:
        case TaskDistillArguments():
            stage = infer_stage(arguments, spelled).stage if actions(arguments).train else "prediction"
            return resolve(arguments, given, stage, arguments.task_name, False, 4).as_dict() | {"stage": stage}
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
