"""The task on which a trained model is evaluated: as given, else according to the model's folder."""

from __future__ import annotations

from tinybert.config.scoring import ScoringOptions
from tinybert.data.custom_files import joined_labels
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.models.configuration import labels_of, read_config, trained_on
from tinybert.models.hub import resolve
from tinybert.recipes.task_data import task_of


def scored_task(config: ScoringOptions, model_path: str) -> Task:
    """The task; for custom files by default with the labels and the `--doc_stride` of the model.

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
    own = config.train_file is not None or config.dev_file is not None
    labels = labels_of(known)
    if own and config.labels is None and labels:
        return task_of(config.replace(task_name=name, labels=joined_labels(labels)))
    return task_of(config.replace(task_name=name, doc_stride=config.doc_stride or (rows.doc_stride if own else None)))
