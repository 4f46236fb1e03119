"""New students: layers of a teacher, or a shape with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinybert.api.models import Model, load
from tinybert.errors import UserError


@dataclass(frozen=True)
class StudentPlan:
    """How a run initialises its student, as command-line options; `teacher`: the one whose layers are copied."""

    options: dict[str, object]
    teacher: Model | None = None


def student_from(teacher: object, layers: Sequence[int]) -> StudentPlan:
    """A student initialised with some layers of its teacher (counted from 1), at the same width.

    teacher: anything `tb.load` accepts.

    Raises:
        UserError: layers that the teacher does not have, or that are not in ascending order.
    """
    teacher = load(teacher)
    from tinybert.models.students import parse_init

    text = "teacher:" + ",".join(map(str, layers))
    parse_init(text, int(teacher.config["num_hidden_layers"]))
    return StudentPlan({"student_init": text}, teacher)


def student(
    layers: int, hidden: int | None = None, heads: int | None = None, ffn: int | None = None, *, model_type: str | None = None
) -> StudentPlan:
    """A student of this shape with random weights and its teacher's vocabulary.

    hidden, heads: None: the teacher's. ffn: width of the feed-forward layers; None: four times `hidden`. model_type: None: tinybert.

    Raises:
        UserError: the width is not divisible by the number of heads.
    """
    shape = {"student_layers": layers, "student_hidden": hidden, "student_heads": heads, "student_ffn": ffn, "model_type": model_type}
    return StudentPlan({name: value for name, value in shape.items() if value is not None})


def student_options(student: object, teacher: Model | None) -> dict[str, object]:
    """The command-line options for a student: a plan, or anything `tb.load` accepts.

    Raises:
        UserError: layers of another teacher.
    """
    if not isinstance(student, StudentPlan):
        return {"student_model_name_or_path": str(load(student).path)}
    if student.teacher is not None and (teacher is None or student.teacher.path != teacher.path):
        raise UserError(
            f"the student's layers come from {student.teacher.path}, but the teacher is {teacher and teacher.path}\n"
            "give the same teacher to student_from and to the run"
        )
    return student.options
