"""Identifies a run's models and rows by text and hashes, which must match when resuming."""

from __future__ import annotations

from collections.abc import Sequence

from tinybert.commands.distill import TaskDistillConfig
from tinybert.config.resolved import Settings
from tinybert.data.soft_labels import SoftLabels
from tinybert.data.tasks import Task
from tinybert.models.heads import output_order
from tinybert.models.loading import LoadedModel
from tinybert.models.translation import have_same_tokens
from tinybert.recipes.label_weights import weights_identity
from tinybert.recipes.run_log import weights_hash
from tinybert.recipes.soft_label_source import soft_label_identity
from tinybert.recipes.task_data import rows_hash, rows_identity
from tinybert.recipes.teacher_source import LazyTeacher
from tinybert.recipes.training_rows import training_splits, unlabelled_identity


def describe_student(student: LoadedModel) -> str:
    """The complete shape of a student."""
    config = student.config
    size, rank = getattr(config, "attention_head_size", None), getattr(config, "embedding_rank", None)
    words = f"{student.family.model_type} {config.num_hidden_layers} x {config.hidden_size}, {config.num_attention_heads} heads"
    words += f" of {size}" if size else ""
    return f"{words}, feed-forward {config.intermediate_size}" + (f", embedding of rank {rank}" if rank else "")


def task_identity(
    config: TaskDistillConfig,
    task: Task,
    rows: dict[str, str],
    student: LoadedModel,
    teachers: Sequence[LazyTeacher],
    soft: SoftLabels | None,
) -> dict[str, str]:
    """What must match when resuming task distillation: training rows (`rows_identity`), student, teachers, soft labels."""
    sha256 = weights_hash(student.report.source)
    origin = "" if sha256 else f", {student.report.source}"  # random weights, or layers of the teacher
    found = {**rows, "student": describe_student(student) + origin, "student_weights": str(sha256)}
    for number, teacher in enumerate(teachers, 1):
        name = "teacher" if number == 1 else f"teacher_{number}"
        found |= {name: teacher.function, f"{name}_weights": str(teacher.sha256)}
        found |= teacher_label_order(teacher.own_labels, task, name)
        if not have_same_tokens(student.tokenizer, teacher.known.tokenizer):
            found[f"{name}_tokenizer"] = teacher.known.tokenizer.fingerprint
    if len(teachers) + (soft is not None) > 1:
        found["teachers_averaged"] = f"{config.teacher_average}, weights {config.teacher_weights or 'equal'}"
    return found | soft_label_identity(soft, config)


def teacher_label_order(own: tuple[str, ...] | None, task: Task, name: str = "teacher") -> dict[str, str]:
    """The task's labels in the order of a teacher's outputs, which are its `own` labels; empty for a regression."""
    order = output_order(own, task.labels) if own else None
    if order is None:  # no names to compare: the order of the outputs is assumed
        return {f"{name}_labels": ", ".join(task.labels)} if task.labels else {}
    return {f"{name}_labels": ", ".join(task.labels[order.index(place)] for place in range(len(order)))}


def inputs_of_task(
    config: TaskDistillConfig,
    settings: Settings,
    task: Task,
    teachers: Sequence[LazyTeacher],
    soft: SoftLabels | None,
    student: LoadedModel,
) -> dict[str, str]:
    """The inputs of a stage that may already be finished: the files of its rows, and its identity."""
    splits = training_splits(task, settings.use_aug)
    files = {f"{name}_rows": rows_hash(task, config, name) for name in (*splits, *task.eval_splits)}
    rows = rows_identity(task, files[f"{splits[0]}_rows"], task.split(splits[0]).key, student.tokenizer)
    rows |= unlabelled_identity([files[f"{name}_rows"] for name in task.unlabelled_splits])
    return files | task_identity(config, task, rows, student, teachers, soft) | weights_identity(settings, task)
