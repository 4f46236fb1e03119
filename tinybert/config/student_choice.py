"""Which student a command line describes: a folder, layers of the teacher, or a fresh shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.config.distilling import ModelArguments


def check_student(arguments: ModelArguments) -> None:
    """Refuse a command line that describes no student, two kinds of student, or an impossible shape.

    Raises:
        UserError: says which options are missing or contradict each other.
    """
    shape = [name for name in ("student_layers", "student_hidden", "student_heads", "student_ffn") if getattr(arguments, name) is not None]
    if arguments.student_model_name_or_path is not None:
        other = [*(["student_init"] if arguments.student_init else []), *shape]
        if other:
            raise UserError(
                f"--{other[0]} describes a new student, but --student_model_name_or_path names one\n"
                "give the student's folder, or student_init, or a shape"
            )
    elif arguments.student_init is not None:
        if not re.fullmatch(r"teacher:[1-9]\d*(,[1-9]\d*)*", arguments.student_init):
            raise UserError(
                f"--student_init got {arguments.student_init!r}\nexpected teacher: and layers counted from 1, such as teacher:1,3,5"
            )
        if shape:
            raise UserError(f"--student_init copies layers of the teacher, --{shape[0]} changes their shape\ngive one of them")
        layers = [int(layer) for layer in arguments.student_init.removeprefix("teacher:").split(",")]
        if sorted(set(layers)) != layers:
            raise UserError(f"--student_init got {arguments.student_init!r}\nexpected different layers in ascending order")
    elif arguments.student_layers is None:
        raise UserError(
            "--student_model_name_or_path (or --student_model) is missing\n"
            "give the student's folder, or --student_init teacher:1,3,5, or --student_layers N for a fresh one"
        )
    elif arguments.teacher_path is None and not (arguments.student_hidden and arguments.student_heads):
        raise UserError(
            "--student_hidden and --student_heads are missing\n"
            "without a teacher to take them from, a fresh student needs both beside --student_layers"
        )
    elif arguments.student_hidden and arguments.student_heads and arguments.student_hidden % arguments.student_heads:
        raise UserError(
            f"--student_hidden {arguments.student_hidden} is no multiple of --student_heads {arguments.student_heads}\nchange one of them"
        )
