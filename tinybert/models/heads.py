"""The head in a weight file: whether it fits the task, and its outputs in the order of the task's labels."""

from __future__ import annotations

import numpy as np

from tinybert import runtime
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.log import logger

HEAD_PARTS = ("classifier", "pre_classifier")  # attributes of PaddleNLP's classes; the second one is DistilBERT's
_OUTPUTS = ("classifier.weight", "classifier.bias", "classifier.out_proj.weight", "classifier.out_proj.bias")


def head_weight(arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    """The matrix whose last axis is the outputs `[..., C]`; None if the file has no head."""
    return arrays.get("classifier.weight", arrays.get("classifier.out_proj.weight"))


def fit_head(arrays: dict[str, np.ndarray], stated: Kind | None, kind: Kind, labels: tuple[str, ...], whose: str, needed: bool) -> None:
    """Remove a head for another task from `arrays`. stated: the kind in the model's configuration. whose: the model's name in messages.

    Raises:
        UserError: a head for this task is required, but the model has another one or none.
    """
    weight = head_weight(arrays)
    if stated not in (None, kind):
        problem = (
            f"was trained for {stated.title} (according to its config.json), but the task is {kind.title}.\n"
            f"Give a model of this kind, or set --kind {stated.name} for your files."
        )
    elif weight is None:
        problem = (
            "has no trained classifier: it was pre-trained, not fine-tuned on this task.\n"
            "Fine-tune it first (tinybert finetune) and give its output folder."
        )
    elif stated is None and kind.head != "sequence":
        problem = f"has a head for whole rows (its config.json names no other), but the task is {kind.title}.\nGive a model of this kind."
    elif weight.shape[-1] != kind.outputs(labels):
        problem = (
            f"has {weight.shape[-1]} outputs, but the task has {kind.describe(labels)}.\n"
            "It was fine-tuned on another task: give a model of this task."
        )
    else:
        return
    if needed:
        raise UserError(f"{whose} {problem}")
    for name in [name for name in arrays if name.partition(".")[0] in HEAD_PARTS]:
        del arrays[name]


def output_order(own: tuple[str, ...], wanted: tuple[str, ...]) -> list[int] | None:
    """The index of each task label among a model's own; None if the labels differ."""
    same = str if set(own) == set(wanted) else str.lower  # labels that differ only in case are kept apart
    known = {same(name): i for i, name in enumerate(own)}
    if set(known) != {same(name) for name in wanted} or len(known) < len(own):
        return None
    return [known[same(name)] for name in wanted]


def align_labels(
    arrays: dict[str, np.ndarray], own: tuple[str, ...] | None, wanted: tuple[str, ...], whose: str, role: str, told: bool
) -> None:
    """Reorder the classifier's outputs to the task's label order, if the configuration names its labels.

    A teacher with another label order would teach wrong labels. Numbers are compared like names; if only one side has numbers, or outputs
    are numbered from 0, a comparison is impossible, and this is reported. told: whether the user named the labels. whose: the model's name
    in messages.

    Raises:
        UserError: the model has other labels.
    """
    if own is None or not wanted:
        return
    order = output_order(own, wanted)
    if order is None:
        counted = list(own) == [str(i) for i in range(len(own))]
        if told or len(own) != len(wanted) or not _are_numbers(wanted) or (_are_numbers(own) and not counted):
            raise UserError(
                f"{whose} was trained with the labels {', '.join(own)}, but the task has {', '.join(wanted)}.\n"
                "It belongs to another task, or its config.json (id2label) must use the task's label names."
            )
        said = f"its labels are {', '.join(own)}, the task's are {', '.join(wanted)}; its outputs are used in this order"
    elif order == list(range(len(order))):
        return
    else:
        for name in _OUTPUTS:
            if name in arrays:
                arrays[name] = arrays[name][..., order]
        said = f"its labels are {', '.join(own)}; its outputs were reordered to the task's order {', '.join(wanted)}"
    if runtime.rank() == 0:
        logger.info(f"{role}: {said}")


def _are_numbers(labels: tuple[str, ...]) -> bool:
    return all(name.lstrip("-").isdigit() for name in labels)
