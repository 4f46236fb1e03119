"""Options shared by task and general distillation: the two models, and what is learnt of hidden states and attention."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.dialects import EMD, HUAWEI, MUD
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.options import Alias, Config, option

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
if TYPE_CHECKING:
    from tinybert.config.resolve import Context

in_models = partial(option, group="models")
# conventions that differ between the published systems
in_conventions = partial(option, group="published differences", unset=FROM_PRESET, setting=True)


def teacher_unused(context: Context) -> str | None:
    """Why a stage never runs the teacher."""
    if not context.method.reads_teacher:
        return f"--method {context.method.name} does not use a teacher"
    reads = "layers" in context.learns or context.use_pred
    return None if reads else "without use_pred the stage only learns gold labels"


def _not_even_loaded(context: Context) -> str | None:
    """Why the given teacher is not even loaded."""
    unread = not context.method.reads_teacher and context.student_model_name_or_path is not None
    return f"--method {context.method.name} does not use a teacher" if unread else None


class ModelOptions(Config):
    """The teacher, and the student or its shape."""

    teacher_path: str | None = in_models(
        None,
        help="folder of the fine-tuned teacher",
        alias=(Alias("teacher_model", THREE),),
        unset="required unless --method none",
        no_effect=_not_even_loaded,
    )
    teacher_model_type: str = in_models("bert", help="model family of the teacher", no_effect=_not_even_loaded)
    student_model_name_or_path: str | None = in_models(
        None,
        help="folder or name of the student to start from",
        alias=(Alias("student_model", THREE),),
        unset="required unless student_init or student_layers is given",
    )
    model_type: str = in_models("tinybert", help="model family of the student")
    student_init: str | None = in_models(
        None, help="initialise the student with these teacher layers, counted from 1", metavar="teacher:1,3,5"
    )
    student_layers: int | None = in_models(None, help="number of layers of a new student", at_least=1)
    student_hidden: int | None = in_models(None, help="hidden size of a new student", unset="the teacher's", at_least=1)
    student_heads: int | None = in_models(None, help="number of attention heads of a new student", unset="the teacher's", at_least=1)
    student_ffn: int | None = in_models(None, help="feed-forward size of a new student", unset="4 x its hidden size", at_least=1)


class TeacherOptions(Config):
    """How the teacher is run, and which parts of the student are trained besides the losses."""

    teacher_mode: str | None = in_conventions(
        None,
        help="run the teacher without dropout (eval) or with dropout, as published (train)",
        choices=("eval", "train"),
        no_effect=teacher_unused,
    )
    pad_embedding: str | None = in_conventions(None, help="whether to train the word embedding of [PAD]", choices=("free", "frozen"))
