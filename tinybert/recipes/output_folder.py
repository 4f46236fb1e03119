"""Whether a command may write a whole new folder in place of what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tinybert.errors import UserError


def check_replaceable(output: Path, overwrite: bool, unexpected: Callable[[], str | None]) -> None:
    """Refuse to replace a folder unless it is asked for, and then only one of the command's own.

    unexpected: what speaks against it, `contains ...` or `does not contain ...`; None if nothing does.

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
    """The names in a folder that are none of `own`, the first of them; empty where there are none."""
    return ", ".join(sorted(entry.name for entry in output.iterdir() if not own(entry))[:5])
