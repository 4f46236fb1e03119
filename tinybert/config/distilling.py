"""Options shared by task and general distillation: the two models, and what is learned of hidden states and attention."""

from __future__ import annotations

import re

from tinybert.config.dialects import THREE
from tinybert.config.groups import in_conventions, in_models
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Config
from tinybert.config.resolve import Context
from tinybert.config.soft_labels import soft_label_option
from tinybert.errors import UserError

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


def teacher_unused(context: Context) -> str | None:
    """Why a stage never runs the teacher."""
    if not context.method.reads_teacher:
        return f"--method {context.method.name} does not use a teacher"
    if context.teacher_path is None and soft_label_option(context):
        return "soft labels are read from a file"
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
        unset="required unless --method none or soft labels",
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

    def check(self) -> list[Notice]:
        """Reject a command line that describes no student, two different students, or an impossible shape."""
        notes = super().check()
        shape = [name for name in ("student_layers", "student_hidden", "student_heads", "student_ffn") if getattr(self, name) is not None]
        if self.student_model_name_or_path is not None:
            other = [*(["student_init"] if self.student_init else []), *shape]
            if other:
                raise UserError(
                    f"--{other[0]} describes a new student, but --student_model_name_or_path gives an existing one\n"
                    "give the student's folder, student_init or a shape"
                )
        elif self.student_init is not None:
            if not re.fullmatch(r"teacher:[1-9]\d*(,[1-9]\d*)*", self.student_init):
                raise UserError(
                    f"--student_init got {self.student_init!r}\nexpected teacher: and layers counted from 1, such as teacher:1,3,5"
                )
            if shape:
                raise UserError(f"--student_init copies layers of the teacher, but --{shape[0]} changes their shape\ngive only one of them")
            layers = [int(layer) for layer in self.student_init.removeprefix("teacher:").split(",")]
            if sorted(set(layers)) != layers:
                raise UserError(f"--student_init got {self.student_init!r}\nexpected different layers in ascending order")
        elif self.student_layers is None:
            raise UserError(
                "--student_model_name_or_path (or --student_model) is missing\n"
                "give the student's folder, or --student_init teacher:1,3,5, or --student_layers N for a new one"
            )
        elif self.teacher_path is None and not (self.student_hidden and self.student_heads):
            raise UserError(
                "--student_hidden and --student_heads are missing\n"
                "without a teacher, a new student needs both in addition to --student_layers"
            )
        elif self.student_hidden and self.student_heads and self.student_hidden % self.student_heads:
            raise UserError(
                f"--student_hidden {self.student_hidden} is not a multiple of --student_heads {self.student_heads}\nchange one of them"
            )
        return notes


class TeacherOptions(Config):
    """How the teacher is run, and which parts of the student are trained besides the losses."""

    teacher_mode: str | None = in_conventions(
        None,
        help="run the teacher without dropout (eval) or with dropout, as published (train)",
        choices=("eval", "train"),
        no_effect=teacher_unused,
    )
    pad_embedding: str | None = in_conventions(None, help="whether to train the word embedding of [PAD]", choices=("free", "frozen"))
