"""Options about stored knowledge: what is stored, and what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.config.options import Config, option
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig

in_stored = partial(option, group="stored knowledge")


class StoredOptions(Config):
    """Where the teacher's knowledge is kept, so that training needs no teacher."""

    cache_knowledge: Path | None = in_stored(
        None, help="run the teacher once, store what the student learns of it in this folder, and train without the teacher"
    )
    cache_teacher: bool = in_stored(
        False, help="the same for the logits of the prediction stage, in the cache folder (TINYBERT_CACHE), keyed by all they depend on"
    )


def check_stored(config: TaskDistillConfig) -> None:
    """Refuse both options at once, and a method of which nothing can be stored.

    Raises:
        UserError: says which.
    """
    name = "cache_knowledge" if config.cache_knowledge is not None else "cache_teacher" if config.cache_teacher else None
    if name is None:
        return
    if config.cache_knowledge is not None and config.cache_teacher:
        raise UserError("--cache_knowledge stores the logits too\ngive one of --cache_knowledge and --cache_teacher")
    if config.method == "emd":
        raise UserError(
            f"--{name} cannot serve --method emd: its transport reads attention scores and every hidden state, which are not stored\n"
            f"leave --{name} out, or choose --method mud, tinybert (with --use_att False) or logits"
        )


def stored_reasons(config: TaskDistillConfig, values: Mapping[str, object], stage: str, joint: bool = False) -> dict[str, str]:
    """Name and reason of an option about stored knowledge that has no effect in this stage.

    Raises:
        UserError: the stage needs what cannot be stored.
    """
    if joint:
        name = "cache_knowledge" if config.cache_knowledge is not None else "cache_teacher" if config.cache_teacher else None
        if name is not None:
            raise UserError(f"--{name} stores what each of two stages learns, --stage joint has one\nuse --stage both, or leave it out")
        return {}
    if stage == "prediction":
        if values["alpha"] == 0:
            return dict.fromkeys(("cache_knowledge", "cache_teacher"), "the stage does not read the teacher")
        asked, changes = config.cache_knowledge is not None or config.cache_teacher, []
    else:
        asked, changes = config.cache_knowledge is not None, _unstorable(config.method, values)
    if asked and values["teacher_mode"] == "train":
        changes.append(("--teacher_mode eval", "with dropout the teacher is another one in every step"))
    if asked and changes:
        raise UserError(
            f"the {stage} stage learns what cannot be stored once: " + "; ".join(reason for _, reason in changes) + "\n"
            f"add {' '.join(option for option, _ in changes)}, or train with the teacher"
        )
    if stage == "intermediate":
        return {"cache_teacher": "the intermediate stage learns no logits; --cache_knowledge stores what it learns"}
    return {}


def _unstorable(method: str, values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Option and reason for everything of the intermediate stage that depends on the batch, or is not stored."""
    found = []
    if method == "tinybert" and values["use_att"] and values["attention_weight"]:
        found.append(("--use_att False", "attention scores are not stored"))
    if values["hidden_reduction"] == "mean":
        found.append(("--hidden_reduction masked", "hidden_reduction mean counts padding, which is not stored"))
    if values["mask_threshold"] == "batch":
        found.append(("--mask_threshold example", "mask_threshold batch depends on the rows that share a batch"))
    if values["mask_first_step"] is False:
        found.append(("--mask_first_step True", "the first step without the mask needs everything"))
    if values["prune_schedule"] in ("depth", "both"):
        found.append(("--prune_schedule width", "a student that loses layers learns from other layers of the teacher"))
    return found
