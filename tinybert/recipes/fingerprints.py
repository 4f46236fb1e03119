"""Identifies a run's models and rows by text and hashes, which must match when resuming."""

from __future__ import annotations

from tinybert.config.options import Config
from tinybert.config.resolved import Settings
from tinybert.data.tasks import Task
from tinybert.models.loading import LoadedModel, output_order
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


def models_identity(student: LoadedModel, hashes: dict[str, str | None]) -> dict[str, str]:
    """What must match when resuming task distillation; hashes: of the model files, by role."""
    origin = "" if hashes["student"] else f", {student.report.source}"  # random weights, or layers of the teacher
    return {"student": describe_student(student) + origin, **{f"{role}_weights": str(sha256) for role, sha256 in hashes.items()}}


def teacher_label_order(own: tuple[str, ...] | None, task: Task) -> dict[str, str]:
    """The task's labels in the order of a teacher's outputs, which are its `own` labels; empty for a regression."""
    order = output_order(own, task.labels) if own else None
    if order is None:  # no names to compare: the order of the outputs is assumed
        return {"teacher_labels": ", ".join(task.labels)} if task.labels else {}
    return {"teacher_labels": ", ".join(task.labels[order.index(place)] for place in range(len(order)))}


def inputs_of_task(config: Config, settings: Settings, task: Task, teacher: LazyTeacher | None, student: LoadedModel) -> dict[str, str]:
    """The inputs of a stage that may already be finished: rows and how they are read, student, teacher."""
    split = "train_aug" if settings.use_aug else "train"
    rows = rows_hash(task, config, split)
    found = rows_identity(task, rows, task.split(split).key, student.tokenizer)
    hashes = {"student": weights_hash(student.report.source)}
    if teacher is not None:
        known = teacher.known
        found |= {"teacher": teacher.function, **teacher_label_order(teacher.own_labels, task)}
        hashes["teacher"] = weights_hash(known.report.source if isinstance(known, LoadedModel) else str(known.weights))
    scored = {f"{name}_rows": rows_hash(task, config, name) for name in task.eval_splits}
    return {f"{split}_rows": rows, **scored, **found, **models_identity(student, hashes)}
