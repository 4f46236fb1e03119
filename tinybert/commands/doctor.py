"""Checking the installation."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import in_data
from tinybert.config.options import Config


@command("doctor", summary="check the installation", recipe="doctor:doctor")
class DoctorConfig(Config):
    """Check the installation on this machine and suggest fixes."""

    NEEDS_PADDLE = False

    glue_dir: Path | None = in_data(
        None, help="folder that contains one folder per task", unset="$DATA_HOME/Glue, otherwise $PPNLP_HOME/datasets/Glue"
    )
