"""Fetching the data of GLUE tasks ahead of a run."""

from __future__ import annotations

from pathlib import Path

from tinybert.data.places import locate
from tinybert.data.tasks import GLUE_TASKS, get_task


def download(arguments, given: set[str], spelled: dict[str, str]) -> None:
    """Make sure that every split of the named tasks is there, downloading what is missing; print where each one is."""
    names = GLUE_TASKS if arguments.tasks.lower() == "all" else [name for name in arguments.tasks.split(",") if name]
    tasks = [get_task(name) for name in names]
    if arguments.glue_dir is not None:
        Path(arguments.glue_dir).mkdir(parents=True, exist_ok=True)
    for task in tasks:
        splits = [name for name in task.splits if name != "train_aug"]
        print(f"{task.name}: {locate(task, None, arguments.glue_dir, splits)}", flush=True)
