"""Lists and deletes leftovers of killed runs: incomplete files and folders, damaged caches, superseded checkpoints.

Only files with this program's markers are considered, see `storage` and `temporaries`; files of running processes are kept, on any
host.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinybert import storage, temporaries
from tinybert.commands.clean import CleanConfig
from tinybert.data.places import cache_home, data_home, model_home
from tinybert.engine import run_lock
from tinybert.errors import UserError
from tinybert.log import logger

UNFINISHED = {".augmented_parts": "parts of an augmentation", ".corpus_tokens": "tokens of an unfinished pregeneration"}
_STORE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Leftover:
    """A leftover of a killed run: what it is, and whether `--resume` would use it."""

    path: Path
    what: str
    resumable: bool = False

    def size(self) -> int:
        """Its size on disk in bytes."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if file.is_file())


def clean(config: CleanConfig) -> None:
    """List leftovers of killed runs, and delete them unless only listing is requested.

    Raises:
        UserError: the folder does not exist.
    """
    if config.output_dir is not None and not config.output_dir.expanduser().is_dir():
        raise UserError(f"--output_dir {config.output_dir} is not a folder. Give an output folder or a folder of such folders.")
    named = [config.output_dir.expanduser()] if config.output_dir is not None else []
    total = 0
    found = list({entry.path: entry for root in (cache_home(), data_home(), model_home(), *named) for entry in leftovers(root)}.values())
    for entry in found:
        size, kept = entry.size(), entry.resumable and not config.unfinished
        logger.info(f"{size / 1e6:10,.1f} MB  {entry.path}: {entry.what}{' (kept; --unfinished deletes it)' if kept else ''}")
        if not kept:
            total += size
            if not config.dry_run:
                storage.remove_own(entry.path) if storage.is_own(entry.path) or entry.resumable else temporaries.remove(entry.path)
    if not found:
        logger.info("no leftovers of killed runs")
    else:
        logger.info(f"{total / 1e6:,.1f} MB {'would be' if config.dry_run else 'were'} deleted")


def leftovers(root: Path) -> Iterator[Leftover]:
    """The leftovers of killed runs in a folder, recursively."""
    for name, folders, _ in os.walk(root):
        folder = Path(name)
        yield from (Leftover(path, "half-written") for path in temporaries.leftovers(folder))
        for child in list(folders):
            path = folder / child
            entry = _leftover(path)
            if entry is not None:
                yield entry
            if entry is not None or temporaries.is_temporary(path):
                folders.remove(child)


def _leftover(path: Path) -> Leftover | None:
    if path.name in UNFINISHED and not _in_use(path.parent):
        holds_own = storage.is_own(path) or any(storage.is_own(entry) for entry in path.iterdir())
        return Leftover(path, UNFINISHED[path.name], resumable=True) if holds_own else None
    if path.name.startswith(("superseded_", "left_")) and path.parent.parent.name == "checkpoints" and storage.is_own(path):
        return None if _in_use(path.parent.parent.parent) else Leftover(path, "a superseded checkpoint")
    if path.name.endswith(".old") and storage.is_own(path) and (path.parent / path.name[1:-4]).exists():
        return Leftover(path, "replaced")
    if (
        path.parent.name == "tokens"
        and path.parent.parent == cache_home()
        and _STORE.fullmatch(path.name)
        and not storage.is_complete(path)
    ):
        return Leftover(path, "damaged cached tokens")
    return None


def _in_use(folder: Path) -> bool:
    """Whether another process is writing to an output folder."""
    try:
        run_lock.check_not_in_use(folder)
    except UserError:
        return True
    return False
