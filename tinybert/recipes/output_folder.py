"""Checks whether a command may replace an existing output folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tinybert.errors import UserError


def check_replaceable(output: Path, overwrite: bool, unexpected: Callable[[], str | None]) -> None:
    """Reject replacing a folder unless it is requested and the folder is one of the command's own.

    unexpected: the reason against it, `contains ...` or `does not contain ...`; None if there is none.

    Raises:
        UserError: the folder may not be replaced.
    """
    if output.is_file():
        raise UserError(f"--output_dir {output} is a file. Choose a folder.")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite:
        raise UserError(f"--output_dir {output} is not empty. Choose another folder, or replace it with --overwrite_output_dir.")
    if found := unexpected():
        raise UserError(f"--output_dir {output} {found} and is not replaced. Choose another folder.")


def files_beside(output: Path, own: Callable[[Path], bool]) -> str:
    """The first names in a folder that are not in `own`; empty if there are none."""
    return ", ".join(sorted(entry.name for entry in output.iterdir() if not own(entry))[:5])
