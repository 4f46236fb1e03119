"""The task on which a trained model is evaluated: as given, else according to the model's folder."""

from __future__ import annotations

from tinybert.config.scoring import ScoringOptions
from tinybert.data.custom_files import joined_labels
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.kinds.registry import kind_of_config
from tinybert.models.configuration import labels_of, read_config, trained_on
from tinybert.models.hub import resolve
from tinybert.recipes.task_data import task_of


def scored_task(config: ScoringOptions, model_path: str) -> Task:
    """The task; for custom files by default with the kind, the labels and the `--doc_stride` of the model.

    Raises:
        UserError: the task is unknown.
    """
    known = read_config(resolve(model_path))
    rows = trained_on(known)
    name = config.task_name or rows.task
    if name is None:
        raise UserError(
            f"--task_name is missing: {model_path} does not record the task it was trained on.\n"
            "Give the task; any name works for your own files."
        )
    values: dict[str, object] = {"task_name": name}
    if config.train_file is not None or config.dev_file is not None:
        kind, labels = kind_of_config(known), labels_of(known)
        values |= {"kind": kind.name} if kind and config.kind is None else {}
        values |= {"labels": joined_labels(labels)} if labels and config.labels is None else {}
        values |= {"doc_stride": rows.doc_stride} if rows.doc_stride and config.doc_stride is None else {}
    return task_of(config.replace(**values))
