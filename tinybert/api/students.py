"""Students that do not exist yet: layers of a teacher, or a shape with fresh weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinybert.api.models import Model, load
from tinybert.errors import UserError


@dataclass(frozen=True)
class StudentPlan:
    """What a run makes its student of, as options of the command line; `teacher`: the one whose layers it takes."""

    options: dict[str, object]
    teacher: Model | None = None


def student_from(teacher: object, layers: Sequence[int]) -> StudentPlan:
    """A student that starts as its teacher with some of its layers, counted from 1, of the same width.

    teacher: whatever `tb.load` takes.

    Raises:
        UserError: layers that the teacher does not have, or that are not in rising order.
    """
    teacher = load(teacher)
    from tinybert.models.students import parse_init

    text = "teacher:" + ",".join(map(str, layers))
    parse_init(text, int(teacher.config["num_hidden_layers"]))
    return StudentPlan({"student_init": text}, teacher)


def student(
    layers: int, hidden: int | None = None, heads: int | None = None, ffn: int | None = None, *, model_type: str | None = None
) -> StudentPlan:
    """A student of this shape with random weights, and with the vocabulary of its teacher.

    hidden, heads: None: the teacher's. ffn: width of the feed-forward layers; None: four times `hidden`. model_type: None: tinybert.

    Raises:
        UserError: a width that its heads do not divide.
    """
    shape = {"student_layers": layers, "student_hidden": hidden, "student_heads": heads, "student_ffn": ffn, "model_type": model_type}
    return StudentPlan({name: value for name, value in shape.items() if value is not None})


def student_options(student: object, teacher: Model | None) -> dict[str, object]:
    """How a command line names a student: a plan, or whatever `tb.load` takes.

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
