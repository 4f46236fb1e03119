"""Identifies a run's models and rows by text and hashes, which must match when resuming."""

from __future__ import annotations

from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.data.tasks import Task
from tinybert.models.heads import output_order
from tinybert.models.loading import LoadedModel
from tinybert.recipes.label_weights import weights_identity
from tinybert.recipes.run_log import weights_hash
from tinybert.recipes.task_data import rows_hash, rows_identity
from tinybert.recipes.teacher_source import LazyTeacher


def describe_student(student: LoadedModel) -> str:
    """The complete shape of a student."""
    config = student.config
    size, rank = getattr(config, "attention_head_size", None), getattr(config, "embedding_rank", None)
    words = f"{student.family.model_type} {config.num_hidden_layers} x {config.hidden_size}, {config.num_attention_heads} heads"
    words += f" of {size}" if size else ""
    return f"{words}, feed-forward {config.intermediate_size}" + (f", embedding of rank {rank}" if rank else "")


def task_identity(task: Task, rows: dict[str, str], student: LoadedModel, teacher: LazyTeacher | None) -> dict[str, str]:
    """What must match when resuming task distillation: the training rows (`rows_identity`), student, teacher."""
    sha256 = weights_hash(student.report.source)
    origin = "" if sha256 else f", {student.report.source}"  # random weights, or layers of the teacher
    found = {**rows, "student": describe_student(student) + origin, "student_weights": str(sha256)}
    if teacher is not None:
        found |= {"teacher": teacher.function, "teacher_weights": str(teacher.sha256)}
        found |= teacher_label_order(teacher.own_labels, task)
    return found


def teacher_label_order(own: tuple[str, ...] | None, task: Task) -> dict[str, str]:
    """The task's labels in the order of a teacher's outputs, which are its `own` labels; empty for a regression."""
    order = output_order(own, task.labels) if own else None
    if order is None:  # no names to compare: the order of the outputs is assumed
        return {"teacher_labels": ", ".join(task.labels)} if task.labels else {}
    return {"teacher_labels": ", ".join(task.labels[order.index(place)] for place in range(len(order)))}


def inputs_of_task(config: Config, settings: Settings, task: Task, teacher: LazyTeacher | None, student: LoadedModel) -> dict[str, str]:
    """The inputs of a stage that may already be finished: the files of its rows, and its identity."""
    split = "train_aug" if settings.use_aug else "train"
    files = {f"{name}_rows": rows_hash(task, config, name) for name in (split, *task.eval_splits)}
    rows = rows_identity(task, files[f"{split}_rows"], task.split(split).key, student.tokenizer)
    return files | task_identity(task, rows, student, teacher) | weights_identity(settings, task)
