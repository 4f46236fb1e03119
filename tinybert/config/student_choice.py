"""The student that a command line describes: a folder, layers of the teacher, or a new shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.config.distilling import ModelOptions


def check_student(config: ModelOptions) -> None:
    """Reject a command line that describes no student, two different students, or an impossible shape.

    Raises:
        UserError: says which options are missing or contradict each other.
    """
    shape = [name for name in ("student_layers", "student_hidden", "student_heads", "student_ffn") if getattr(config, name) is not None]
    if config.student_model_name_or_path is not None:
        other = [*(["student_init"] if config.student_init else []), *shape]
        if other:
            raise UserError(
                f"--{other[0]} describes a new student, but --student_model_name_or_path gives an existing one\n"
                "give the student's folder, student_init or a shape"
            )
    elif config.student_init is not None:
        if not re.fullmatch(r"teacher:[1-9]\d*(,[1-9]\d*)*", config.student_init):
            raise UserError(
                f"--student_init got {config.student_init!r}\nexpected teacher: and layers counted from 1, such as teacher:1,3,5"
            )
        if shape:
            raise UserError(f"--student_init copies layers of the teacher, but --{shape[0]} changes their shape\ngive only one of them")
        layers = [int(layer) for layer in config.student_init.removeprefix("teacher:").split(",")]
        if sorted(set(layers)) != layers:
            raise UserError(f"--student_init got {config.student_init!r}\nexpected different layers in ascending order")
    elif config.student_layers is None:
        raise UserError(
            "--student_model_name_or_path (or --student_model) is missing\n"
            "give the student's folder, or --student_init teacher:1,3,5, or --student_layers N for a new one"
        )
    elif config.teacher_path is None and not (config.student_hidden and config.student_heads):
        raise UserError(
            "--student_hidden and --student_heads are missing\nwithout a teacher, a new student needs both in addition to --student_layers"
        )
    elif config.student_hidden and config.student_heads and config.student_hidden % config.student_heads:
        raise UserError(
            f"--student_hidden {config.student_hidden} is not a multiple of --student_heads {config.student_heads}\nchange one of them"
        )
