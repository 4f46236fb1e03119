"""One run at a time in an output folder: an advisory lock that the system lifts when its process ends, however it ends."""

from __future__ import annotations

import datetime
import json
import os
import socket
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from tinybert import storage
from tinybert.errors import UserError

NAME = ".lock"
HOLDER = ".lock.json"  # who holds it, for the message
PATIENCE = 0.5  # seconds: another process may just be looking whether the lock is free

_held: dict[Path, tuple[FileLock, os.stat_result]] = {}  # the folders that this process holds, with their locks and these files


def refuse_held(folder: Path) -> None:
    """Refuse a folder in which another process is writing. Nothing is changed.

    Raises:
        UserError: names that process.
    """
    if not _holds(folder) and (folder / NAME).is_file():
        lock = _take(folder, patience=0.0)
        storage.drop_lock(lock)  # left behind by a process that has ended


def hold(folder: Path) -> bool:
    """Take the lock of a folder, which is there; False where this process has it already.

    Raises:
        UserError: another process has it.
    """
    if _holds(folder):
        return False
    lock = _take(folder, PATIENCE)
    if lock is None:
        return True
    who = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": Path(sys.argv[0]).name,
        "since": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    storage.write_json(folder / HOLDER, who)
    _held[folder.resolve()] = lock, os.stat(folder / NAME)
    return True


def release(folder: Path) -> None:
    """Give the lock of a folder back, if this process has it."""
    lock, _ = _held.pop(folder.resolve(), (None, None))
    if lock is not None:
        (folder / HOLDER).unlink(missing_ok=True)
        storage.drop_lock(lock)


def _holds(folder: Path) -> bool:
    lock, file = _held.get(folder.resolve(), (None, None))
    if lock is None:
        return False
    try:
        if os.path.samestat(file, os.stat(folder / NAME)):
            return True
    except FileNotFoundError:  # somebody has deleted the folder
        pass
    _held.pop(folder.resolve())
    lock.release()
    return False


def _take(folder: Path, patience: float) -> FileLock | None:
    """The lock; None where the file system has none, or nothing may be written there."""
    try:
        return storage.take_lock(folder / NAME, patience)
    except Timeout:
        raise UserError(
            f"--output_dir {folder} is in use: {_holder(folder)} is writing there.\nWait until it ends, stop it, or choose another folder."
        ) from None
    except OSError:
        return None


def _holder(folder: Path) -> str:
    try:
        who = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']} ({who['command']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
