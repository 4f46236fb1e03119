"""Fetching data ahead of a run."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import (
    in_data,
)
from tinybert.config.options import Config


@command("download", summary="fetch the data of known tasks ahead of a run", recipe="download:download")
class DownloadConfig(Config):
    """Fetch the data of known tasks ahead of a run."""

    tasks: str = in_data(
        "all", help="task names separated by commas; all: the nine of GLUE, clue: those of CLUE", metavar="all|clue|SST-2,..."
    )
    glue_dir: Path | None = in_data(
        None,
        help="the folder that gets one folder per task",
        unset="$DATA_HOME/Glue, else $PPNLP_HOME/datasets/Glue; CLUE tasks: Clue in its place",
    )
