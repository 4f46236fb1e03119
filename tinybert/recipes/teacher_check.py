"""Whether a teacher knows its task, and in the task's label order, before anybody learns from it."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

import numpy as np

from tinybert.data.custom_files import joined_labels
from tinybert.data.metrics import majority_baseline, score
from tinybert.data.report import scale_warning
from tinybert.data.tasks import Task
from tinybert.errors import UserError

WARNS_ONLY = ("WNLI",)  # on WNLI the majority class is what honest models reach


@dataclass(frozen=True)
class Finding:
    """What the dev rows say of a teacher: its scores, those of guessing, and its best label order where that is not the task's.

    weak: not better than guessing by two standard errors. tells: whether the dev rows can tell a teacher from guessing at all.
    """

    scores: dict[str, float]
    baseline: float
    margin: float
    weak: bool
    tells: bool
    better_order: tuple[str, ...] | None
    better_accuracy: float
    scale: str | None = None  # of a regression, where gold and teacher are on different scales


def examine(task: Task, logits: np.ndarray, labels: np.ndarray) -> Finding:
    """Score a teacher's logits `[N, C]` on labelled rows `[N]` and under every other order of its outputs.

    Weak: accuracy at or below the majority class plus two standard errors; for a regression, a correlation at or below 2 / sqrt(N).
    The rows can tell a teacher from guessing where one with a single wrong row is not weak: 1 - 1 / N is above the majority class plus
    two standard errors. Eight rows with five of one label cannot (0.625 + 0.342), nor can rows with the same label, nor a thousand of
    which 995 have one label. For a regression the margin must lie below 1, the best correlation: five rows at least, and two scores.
    Orders: the assignment of outputs to labels with the most hits (Hungarian algorithm on the confusion matrix), which stands for all
    C! orders.
    """
    scores = score(task, logits, labels)
    if task.regression:
        reached, baseline, margin = scores[task.metric], 0.0, 2 / math.sqrt(len(labels))
        tells = margin < 1 and bool(np.ptp(labels))
        return Finding(scores, baseline, margin, reached <= margin, tells, None, reached, scale_warning(labels, logits))
    from scipy.optimize import linear_sum_assignment

    predicted = logits.argmax(1)
    accuracy = float((predicted == labels).mean())
    baseline = _majority(task, labels)
    margin = 2 * math.sqrt(baseline * (1 - baseline) / len(labels))
    confusion = np.zeros((len(task.labels),) * 2, np.int64)
    np.add.at(confusion, (predicted, labels), 1)
    outputs, means = linear_sum_assignment(-confusion)
    best = float(confusion[outputs, means].sum() / len(labels))
    better = best > accuracy + margin and best > baseline + margin
    order = tuple(task.labels[i] for i in means) if better else None
    tells = 1 - 1 / len(labels) > baseline + margin
    return Finding(scores, baseline, margin, accuracy <= baseline + margin, tells, order, best)


def _majority(task: Task, labels: np.ndarray) -> float:
    if "accuracy" in task.metrics:
        return majority_baseline(task, labels)["accuracy"]
    return float(np.bincount(labels).max() / len(labels))


def described(task: Task, finding: Finding, named: bool) -> str:
    """The teacher's scores as a line; without names of its labels (`named`), what the other orders of its outputs came to."""
    line = "teacher on dev: " + ", ".join(f"{name} {value:.4f}" for name, value in finding.scores.items())
    if named or task.regression or finding.better_order is not None:
        return line
    order = ", ".join(task.labels[:10]) + (", ..." if len(task.labels) > 10 else "")
    return f"{line}; its config.json names no labels: taken as {order}, and no other order scores clearly better"


def _as_option(labels: tuple[str, ...]) -> str:
    quoted = any(character in label for label in labels for character in ',"')
    return shlex.quote(joined_labels(labels) if quoted else ",".join(labels))


def judge(task: Task, finding: Finding, allowed: bool, named: bool) -> list[str]:
    """Refuse a teacher that knows no more than the majority class; returns lines to print where it is let through.

    A weak teacher on rows that cannot tell it from guessing is let through.
    named: its config.json or --teacher_labels says what its outputs stand for, so that another order is no way to read it.

    Raises:
        UserError: the outputs have no names and stand in another order, or the rows tell that the teacher is weak and `allowed` is False.
    """
    warnings = []
    if finding.scale is not None and not finding.weak:
        warnings.append(f"{finding.scale}. A student learns the teacher's; bring the labels to it if they are to be learnt too")
    reached = ", ".join(f"{name} {value:.4f}" for name, value in finding.scores.items())
    if finding.better_order is not None:
        own, better = ", ".join(task.labels), ", ".join(finding.better_order)
        found = (
            f"the teacher scores {reached} on dev in the task's label order {own}, but accuracy {finding.better_accuracy:.4f} "
            f"if its outputs stand for {better}"
        )
        if not named and task.name not in WARNS_ONLY:
            raise UserError(
                f"{found}.\nIts config.json (id2label) names no labels, so the order is a guess: it was most likely fine-tuned "
                f"with that other order.\nSay so with --teacher_labels {_as_option(finding.better_order)}, or name the labels in its "
                "config.json."
            )
        taken = f"its outputs have no names and are taken as {own}"
        if named:
            taken = "its outputs have names and are taken as named; --teacher_labels would give them others"
        warnings.append(f"{found}; {taken}")
    if not finding.weak:
        return warnings
    guess = "no correlation" if task.regression else f"the majority class ({finding.baseline:.4f})"
    message = f"the teacher scores {reached} on dev: not above {guess} by two standard errors ({finding.margin:.4f})"
    if not finding.tells:
        message += "; dev is too small, or too much of one label or score, to tell a teacher from guessing"
    if allowed or not finding.tells or task.name in WARNS_ONLY:
        return [*warnings, message]
    raise UserError(
        "\n".join([*warnings, message])
        + ".\nA student would learn guessing from it. Fine-tune the teacher first (benchmark/glue/run_glue.py), check that it "
        "belongs to this task, or go on with --allow_weak_teacher."
    )
