"""Downloads the data of known tasks before a run."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.download import DownloadConfig
from tinybert.data.places import locate
from tinybert.data.tasks import CLUE_TASKS, GLUE_TASKS, get_task
from tinybert.errors import UserError
from tinybert.log import logger

GROUPS = {"all": GLUE_TASKS, "clue": CLUE_TASKS}


def download(config: DownloadConfig) -> None:
    """Download missing splits of the given tasks; print the location of each one.

    Raises:
        UserError: a task could not be downloaded; the others have been tried anyway.
    """
    words = [word.strip() for word in config.tasks.split(",") if word.strip()]
    names = [name for word in words for name in GROUPS.get(word.lower(), (word,))]
    tasks = {task.name: task for task in map(get_task, names)}.values()
    if config.glue_dir is not None:
        Path(config.glue_dir).mkdir(parents=True, exist_ok=True)
    failed = []
    for task in tasks:
        splits = [name for name in task.splits if name != "train_aug"]
        try:
            logger.info(f"{task.name}: {locate(task, None, config.glue_dir, splits)}")
        except UserError as problem:
            failed.append(task.name)
            logger.error(f"{task.name}: {problem}")
    if failed:
        raise UserError(f"{len(failed)} of {len(tasks)} tasks could not be downloaded: {', '.join(failed)}")
