"""Whether a teacher knows its task, and in the task's label order, before anybody learns from it."""

from __future__ import annotations

import shlex

from tinybert.data.custom_files import joined_labels
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.kinds.kind import TeacherReport

WARNS_ONLY = ("WNLI",)  # on WNLI the majority class is what honest models reach


def described(task: Task, report: TeacherReport, named: bool) -> str:
    """The teacher's scores as a line; without names of its labels (`named`), what the other orders of its outputs came to."""
    line = "teacher on dev: " + ", ".join(f"{name} {value:.4f}" for name, value in report.scores.items())
    if named or not report.ordered or report.better_order is not None:
        return line
    order = ", ".join(task.labels[:10]) + (", ..." if len(task.labels) > 10 else "")
    return f"{line}; its config.json has no label names: assumed to be {order}; no other order scores clearly better"


def _as_option(labels: tuple[str, ...]) -> str:
    quoted = any(character in label for label in labels for character in ',"')
    return shlex.quote(joined_labels(labels) if quoted else ",".join(labels))


def validate_teacher(task: Task, report: TeacherReport, allowed: bool, named: bool) -> list[str]:
    """Refuse a teacher that knows no more than the majority class; returns lines to print where it is let through.

    A weak teacher on rows that cannot tell it from guessing is let through.
    named: its config.json or --teacher_labels says what its outputs stand for, so that another order is no way to read it.

    Raises:
        UserError: the outputs have no names and stand in another order, or the rows tell that the teacher is weak and `allowed` is False.
    """
    warnings = []
    if report.scale is not None and not report.weak:
        warnings.append(f"{report.scale}. The student learns the teacher's scale; rescale the labels to learn them too")
    reached = ", ".join(f"{name} {value:.4f}" for name, value in report.scores.items())
    if report.better_order is not None:
        own, better = ", ".join(task.labels), ", ".join(report.better_order)
        found = (
            f"the teacher scores {reached} on dev in the task's label order {own}, but accuracy {report.better_accuracy:.4f} "
            f"if its outputs stand for {better}"
        )
        if not named and task.name not in WARNS_ONLY:
            raise UserError(
                f"{found}.\nIts config.json (id2label) has no label names, so their order is a guess: it was most likely "
                "fine-tuned with the other order.\n"
                f"Set --teacher_labels {_as_option(report.better_order)}, or add the labels to its config.json."
            )
        taken = f"its outputs have no names and are assumed to be {own}"
        if named:
            taken = "its label names are used; --teacher_labels can override them"
        warnings.append(f"{found}; {taken}")
    if not report.weak:
        return warnings
    message = f"the teacher scores {reached} on dev: not above {report.guess} by two standard errors ({report.margin:.4f})"
    if not report.tells:
        message += "; the dev set is too small or too uniform to distinguish a teacher from guessing"
    if allowed or not report.tells or task.name in WARNS_ONLY:
        return [*warnings, message]
    raise UserError(
        "\n".join([*warnings, message])
        + ".\nA student distilled from it would only learn to guess. Fine-tune the teacher first (benchmark/glue/run_glue.py), "
        "check that it belongs to this task, or accept it with --allow_weak_teacher."
    )
