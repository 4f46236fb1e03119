"""Options that task and general distillation share: the two models, and what is learnt of hidden states and attention."""

from __future__ import annotations

import re
from functools import partial

from tinybert.config.dialects import EMD, HUAWEI, MUD
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.options import Alias, Config, option
from tinybert.errors import UserError
from tinybert.mapping import NAMES as LAYER_MAPS

THREE = f"{HUAWEI}, {EMD}, {MUD}"
ORDER = (
    "models",
    "stage and method",
    "data",
    "losses",
    "method emd",
    "method mud",
    "teacher traces",
    "pruning",
    "published differences",
    "optimisation",
    "run",
)
in_models = partial(option, group="models")
in_losses = partial(option, group="losses")
# conventions on which the published systems disagree
in_conventions = partial(option, group="published differences", unset=FROM_PRESET)


class ModelOptions(Config):
    """Which teacher, and which student or what shape of one."""

    teacher_path: str | None = in_models(
        None,
        help="the folder of the fine-tuned teacher",
        alias=(Alias("teacher_model", THREE),),
        unset="required unless --method none",
    )
    teacher_model_type: str = in_models("bert", help="the family of the teacher")
    student_model_name_or_path: str | None = in_models(
        None,
        help="the folder or name of the student to start from",
        alias=(Alias("student_model", THREE),),
        unset="required unless student_init or student_layers is given",
    )
    model_type: str = in_models("tinybert", help="the family of the student")
    student_init: str | None = in_models(
        None, help="start the student from these layers of the teacher, counted from 1", metavar="teacher:1,3,5"
    )
    student_layers: int | None = in_models(None, help="build a fresh student with this many layers", at_least=1)
    student_hidden: int | None = in_models(None, help="hidden size of a fresh student", unset="the teacher's", at_least=1)
    student_heads: int | None = in_models(None, help="attention heads of a fresh student", unset="the teacher's", at_least=1)
    student_ffn: int | None = in_models(None, help="feed-forward size of a fresh student", unset="4 x its hidden size", at_least=1)


class IntermediateOptions(Config):
    """TinyBERT's losses of embedding, hidden states and attention."""

    layer_map: str | None = in_losses(
        None,
        help="which teacher layer each student entry learns from: " + ", ".join(LAYER_MAPS) + ", or pairs student:teacher",
        metavar="NAME|0:0,1:3,2:6",
        unset=FROM_PRESET,
    )
    projection: str | None = in_losses(
        None,
        help="the linear map from student to teacher width: one, one per entry, none, or auto (as the student has it)",
        choices=("auto", "shared", "per_layer", "none"),
        unset=FROM_PRESET,
    )
    embedding_weight: float = in_losses(1.0, help="weight of the embedding loss", at_least=0)
    hidden_weight: float = in_losses(1.0, help="weight of the hidden-state loss", at_least=0)
    attention_weight: float = in_losses(1.0, help="weight of the attention loss", at_least=0)
    use_embedding: bool = in_losses(True, help="learn the embedding output")
    use_rep: bool = in_losses(True, help="learn the hidden states")
    use_att: bool = in_losses(True, help="learn the attention scores")

    teacher_mode: str | None = in_conventions(
        None, help="the teacher without dropout (eval) or, as published, with it (train)", choices=("eval", "train")
    )
    attention_reduction: str | None = in_conventions(
        None,
        help="attention scores of padding: not counted, set to 0 but counted, or compared as they are",
        choices=("masked", "zeroed", "raw"),
    )
    hidden_reduction: str | None = in_conventions(
        None, help="hidden states of padding: not counted, or part of the mean", choices=("masked", "mean")
    )
    pad_embedding: str | None = in_conventions(None, help="train the word embedding of [PAD] or not", choices=("free", "frozen"))
    attention_heads: str | None = in_conventions(
        None,
        help="different numbers of heads: refuse (match), or compare averages over heads",
        choices=("match", "average"),
    )


def check_layer_map(text: str | None) -> None:
    """Refuse a layer map that is neither a known name nor pairs.

    Raises:
        UserError: says what is expected.
    """
    if text and text not in LAYER_MAPS and not re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        raise UserError(f"--layer_map got {text!r}\nexpected one of {', '.join(LAYER_MAPS)}, or pairs student:teacher such as 0:0,1:3,2:6")
