"""Checks before training that a teacher performs its task, with the task's label order."""

from __future__ import annotations

import shlex

from tinybert.data.custom_files import joined_labels
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.kinds.kind import TeacherReport

TEACHER, SOFT_LABELS = ("teacher", "dev"), ("file of soft labels", "train")  # whose outputs, on which rows
WARNS_ONLY = ("WNLI",)  # on WNLI, sound models only reach the majority class


def described(task: Task, report: TeacherReport, named: bool, judged: tuple[str, str] = TEACHER) -> str:
    """A line with the teacher's scores; without label names (`named`), also the result for other orders of its outputs."""
    line = f"{judged[0]} on {judged[1]}: " + ", ".join(f"{name} {value:.4f}" for name, value in report.scores.items())
    if named or not report.ordered or report.better_order is not None:
        return line
    order = ", ".join(task.labels[:10]) + (", ..." if len(task.labels) > 10 else "")
    return f"{line}; its outputs have no label names: assumed to be {order}; no other order scores clearly better"


def _by_accuracy(task: Task) -> bool:
    return task.metric == "accuracy" and "macro_f1" in task.kind.metrics(task.labels) and not task.kind.many_labels


def _as_option(labels: tuple[str, ...]) -> str:
    quoted = any(character in label for label in labels for character in ',"')
    return shlex.quote(joined_labels(labels) if quoted else ",".join(labels))


def validate_teacher(task: Task, report: TeacherReport, allowed: bool, named: bool, judged: tuple[str, str] = TEACHER) -> list[str]:
    """Reject a teacher that is no better than the majority class; returns warnings if it is accepted.

    A weak teacher is accepted if the rows are not informative enough to detect it, unless it is worse than the majority class.
    named: whether its config.json or --teacher_labels names its outputs, so that no other order is considered.

    Raises:
        UserError: the outputs have no names and another order, or the teacher is weak on informative rows and `allowed` is False.
    """
    warnings = []
    whose, rows = judged
    if report.scale is not None and not report.weak:
        warnings.append(f"{report.scale}. The student learns the teacher's scale; rescale the labels to learn them too")
    reached = ", ".join(f"{name} {value:.4f}" for name, value in report.scores.items())
    if report.better_order is not None:
        own, better = ", ".join(task.labels), ", ".join(report.better_order)
        score = "micro_f1" if task.kind.many_labels else "accuracy"
        found = (
            f"the {whose} scores {reached} on {rows} in the task's label order {own}, but {score} {report.better_accuracy:.4f} "
            f"if its outputs stand for {better}"
        )
        if not named and task.name not in WARNS_ONLY:
            raise UserError(
                f"{found}.\nIts outputs have no label names, so their order is a guess: it was most likely trained with the other order.\n"
                f"Set --teacher_labels {_as_option(report.better_order)}, or add the labels to its config.json (id2label) or to the header "
                "of its file."
            )
        taken = f"its outputs have no names and are assumed to be {own}"
        if named:
            taken = "its label names are used; --teacher_labels can override them"
        warnings.append(f"{found}; {taken}")
    if not report.weak:
        return warnings
    message = f"the {whose} scores {reached} on {rows}: "
    if report.constant is not None:
        message = f"the {whose} predicts {report.constant!r} for every row of {rows} and scores {reached}: "
    message += f"far below {report.guess}" if report.worse else f"not above {report.guess} by two standard errors ({report.margin:.4f})"
    if not report.informative and not report.worse:
        message += f"; the {rows} set is too small or too uniform to distinguish a teacher from guessing"
    if allowed or not (report.informative or report.worse) or task.name in WARNS_ONLY:
        return [*warnings, message]
    raise UserError(
        "\n".join([*warnings, message])
        + ".\nA student distilled from it would only learn to guess. Fine-tune the teacher first (tinybert finetune), "
        "check that it belongs to this task, or accept it with --allow_weak_teacher."
        + (" If rare classes matter more than accuracy, --metric macro_f1 or mcc judges it by all classes." if _by_accuracy(task) else "")
    )
