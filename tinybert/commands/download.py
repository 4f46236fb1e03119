"""Downloading data before a run."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import in_data
from tinybert.config.options import Config


@command("download", summary="download the data of known tasks in advance", recipe="download:download")
class DownloadConfig(Config):
    """Download the data of known tasks before a run."""

    tasks: str = in_data(
        "all", help="task names separated by commas; all: all nine GLUE tasks, clue: all CLUE tasks", metavar="all|clue|SST-2,..."
    )
    glue_dir: Path | None = in_data(
        None,
        help="output folder; gets one folder per task",
        unset="$DATA_HOME/Glue, otherwise $PPNLP_HOME/datasets/Glue; for CLUE tasks, Clue instead of Glue",
    )
