"""One run at a time per output folder: an advisory lock that the system releases when its process ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from tinybert import storage
from tinybert.engine.run_record import now
from tinybert.errors import UserError

NAME = ".lock"
HOLDER = ".lock.json"  # who holds the lock, for the message
TIMEOUT = 0.5  # seconds: another process may briefly hold it to check it

_held: dict[Path, tuple[FileLock, os.stat_result]] = {}  # the folders locked by this process, with their locks and these files


def check_not_in_use(folder: Path) -> None:
    """Reject a folder to which another process is writing. Nothing is changed.

    Raises:
        UserError: names that process.
    """
    if not _holds(folder) and (folder / NAME).is_file():
        lock = _take(folder, patience=0.0)
        storage.drop_lock(lock)  # left behind by a process that has ended


def acquire(folder: Path) -> bool:
    """Lock an existing folder; False if this process already holds the lock.

    Raises:
        UserError: another process holds it.
    """
    if _holds(folder):
        return False
    lock = _take(folder, TIMEOUT)
    if lock is None:
        return True
    who = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": Path(sys.argv[0]).name,
        "since": now(),
    }
    storage.write_json(folder / HOLDER, who)
    _held[folder.resolve()] = lock, os.stat(folder / NAME)
    return True


def release(folder: Path) -> None:
    """Release the lock of a folder, if this process holds it."""
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
    except FileNotFoundError:  # the folder was deleted meanwhile
        pass
    _held.pop(folder.resolve())
    lock.release()
    return False


def _take(folder: Path, patience: float) -> FileLock | None:
    """Take the lock; None if the file system does not support locks, or the folder is not writable."""
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
