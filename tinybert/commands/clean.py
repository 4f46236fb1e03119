"""Deleting leftovers of killed runs."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import in_data
from tinybert.config.options import Config


@command("clean", summary="list and delete leftovers of killed runs", recipe="clean:clean")
class CleanConfig(Config):
    """List leftovers of killed runs in caches, data, models and output folders, with their sizes, and delete them."""

    NEEDS_PADDLE = False

    output_dir: Path | None = in_data(None, help="output folder to search as well, or a folder of such folders")
    unfinished: bool = in_data(False, help="also delete what --resume would continue from: parts of an augmentation, tokens of a corpus")
    dry_run: bool = in_data(False, help="list only, delete nothing")
