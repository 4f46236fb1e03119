"""One run at a time in an output folder: an advisory lock that the system lifts when its process ends, however it ends."""

from __future__ import annotations

import datetime
import json
import os
import socket
import sys
import time
from pathlib import Path

from tinybert import storage
from tinybert.errors import UserError

NAME = ".lock"
PATIENCE = 0.5  # seconds: another process may just be looking whether the lock is free

_held: dict[Path, int] = {}  # the folders that this process holds, with the descriptors that hold them


def refuse_held(folder: Path) -> None:
    """Refuse a folder in which another process is writing. Nothing is changed.

    Raises:
        UserError: names that process.
    """
    if not _holds(folder) and (folder / NAME).is_file():
        descriptor = _try(folder, patience=0.0)
        if descriptor is not None:
            storage.drop_lock(folder / NAME, descriptor)  # left behind by a process that was killed


def hold(folder: Path) -> bool:
    """Take the lock of a folder, which is there; False where this process has it already.

    Raises:
        UserError: another process has it.
    """
    if _holds(folder):
        return False
    descriptor = _try(folder, PATIENCE)
    if descriptor is None:
        return True
    who = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": Path(sys.argv[0]).name,
        "since": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(who).encode(), 0)
    _held[folder.resolve()] = descriptor
    return True


def release(folder: Path) -> None:
    """Give the lock of a folder back, if this process has it."""
    descriptor = _held.pop(folder.resolve(), None)
    if descriptor is not None:
        storage.drop_lock(folder / NAME, descriptor)


def _holds(folder: Path) -> bool:
    descriptor = _held.get(folder.resolve())
    if descriptor is None:
        return False
    if storage.is_named(folder / NAME, descriptor):
        return True
    os.close(_held.pop(folder.resolve()))  # somebody has deleted the folder
    return False


def _try(folder: Path, patience: float) -> int | None:
    """The descriptor of the lock; None where the file system has no locks, or nothing may be written there."""
    given_up = time.monotonic() + patience
    while True:
        try:
            descriptor = storage.take_lock(folder / NAME, wait=False)
        except OSError:
            return None
        if descriptor is not None:
            return descriptor
        if time.monotonic() >= given_up:
            raise UserError(
                f"--output_dir {folder} is in use: {_holder(folder)} is writing there.\n"
                "Wait until it has ended, stop it, or choose another folder."
            )
        time.sleep(0.05)


def _holder(folder: Path) -> str:
    try:
        who = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return f"process {who['process']} on {who['host']} ({who['command']}, since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
