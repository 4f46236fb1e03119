"""Folders of data, models and caches, and how a task's folder is found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tinybert.data.folder_files import names_in
from tinybert.data.tasks import Task
from tinybert.errors import UserError


def _home(variable: str, below: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]).expanduser()
    root = os.environ.get("PPNLP_HOME") or "~/.paddlenlp"
    try:
        return Path(root).expanduser() / below
    except RuntimeError:
        raise UserError(
            "there is no home directory: HOME is not set, and this user has no passwd entry.\n"
            f"Set HOME, PPNLP_HOME or {variable} to a writable folder."
        ) from None


def data_home() -> Path:
    """DATA_HOME, else $PPNLP_HOME/datasets, else ~/.paddlenlp/datasets."""
    return _home("DATA_HOME", "datasets")


def model_home() -> Path:
    """MODEL_HOME, else $PPNLP_HOME/models, else ~/.paddlenlp/models."""
    return _home("MODEL_HOME", "models")


def cache_home() -> Path:
    """TINYBERT_CACHE, else $PPNLP_HOME/tinybert_cache, else ~/.paddlenlp/tinybert_cache."""
    return _home("TINYBERT_CACHE", "tinybert_cache")


def demo_folder() -> Path:
    """The folder of the small bundled data set."""
    return Path(__file__).parent / "demo"


def locate(
    task: Task,
    data_dir: str | Path | None = None,
    glue_dir: str | Path | None = None,
    splits: Sequence[str] = (),
) -> Path:
    """The folder of a task's files: `data_dir`, else `glue_dir/<TASK>`, else `data_home()/Glue/<TASK>` (CLUE tasks: `Clue`).

    Custom files have absolute paths; they must exist, and the folder is `Path()`.

    `splits`: those that must exist; by default one file of the task is enough. Files missing in `glue_dir` or `data_home()` are
    downloaded; files missing in `data_dir` are an error, because the path may be mistyped.

    Raises:
        UserError: the files are missing and could not be downloaded; the message names them and where to put them.
    """
    if task.own:
        return _own(task, splits)
    if data_dir is not None:
        return _explicit(task, Path(data_dir).expanduser(), splits)
    if task.name == "demo":
        return _explicit(task, demo_folder(), splits)
    parent = Path(glue_dir).expanduser() if glue_dir is not None else data_home() / task.home
    if glue_dir is not None and not parent.is_dir():
        raise UserError(f"--glue_dir {parent} is not a folder. Give the folder that contains {task.folder}/, or create it.")
    folder = _any_case(parent, task.folder)
    missing = _missing(task, folder, splits)
    if not missing:
        return folder
    for other in (_any_case(parent, name) for name in task.also):
        if other.is_dir() and not _missing(task, other, splits):
            return other
    own = [task.splits[name].file for name in splits if name == "train_aug"]
    if own and own == missing:
        raise UserError(f"{folder / own[0]} does not exist: --use_aug reads what tinybert augment writes there.")
    _download(task, folder, missing)
    return folder


def _own(task: Task, splits: Sequence[str]) -> Path:
    for file in _missing(task, Path(), splits):
        if "train_aug" in splits and file == task.split("train_aug").file:
            raise UserError(f"{file} does not exist: --use_aug reads the augmented rows from there, in the format of the training file.")
        raise UserError(f"{file} does not exist. It should contain rows of {task.name}.")
    return Path()


def _any_case(parent: Path, name: str) -> Path:
    exact = parent / name
    if not exact.is_dir() and parent.is_dir():
        for entry in sorted(parent.iterdir()):
            if entry.is_dir() and entry.name.lower() == name.lower():
                return entry
    return exact


def _missing(task: Task, folder: Path, splits: Sequence[str]) -> list[str]:
    if splits:
        return [task.split(name).file for name in splits if not (folder / task.split(name).file).is_file()]
    files = [split.file for name, split in task.splits.items() if name != "train_aug"]
    return [] if any((folder / file).is_file() for file in files) else files


def _explicit(task: Task, folder: Path, splits: Sequence[str]) -> Path:
    if not folder.is_dir():
        found = "is a file, expected a folder" if folder.exists() else "does not exist"
        raise UserError(f"The data folder {folder} {found}. It should contain the files of {task.name}: {_files(task)}.")
    missing = _missing(task, folder, splits)
    if missing:
        raise UserError(f"{folder} lacks {', '.join(missing)} (found: {names_in(folder)}). Put the files of {task.name} there.")
    return folder


def _files(task: Task) -> str:
    return ", ".join(split.file for name, split in task.splits.items() if name != "train_aug")


def _download(task: Task, folder: Path, missing: list[str]) -> None:
    from tinybert.data.download import download_task

    try:
        download_task(task, folder)
        still = [file for file in missing if not (folder / file).is_file()]
        reason = f"the download does not contain {', '.join(still)}"
    except (UserError, OSError) as error:
        still, reason = missing, str(error)
    if still:
        raise UserError(
            f"The data of {task.name} is not there and could not be downloaded: {reason}\n"
            f"Put these files into {folder}: {', '.join(still)}\n"
            "or give the folder that contains them with --data_dir, or its parent with --glue_dir."
        )
