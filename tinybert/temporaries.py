"""Files and folders that are being written: their names, who writes them, and what a killed process has left of them.

A temporary is called `.<name>.tmp-<place>-<pid>-<random>`. The place stands for host, start of the system and process namespace: only there
does the number of a process say whether it lives. A living writer holds a lock on it as well, where the file system has locks, which other
namespaces of the same machine see. What is neither is taken for dead once nothing in it has changed for a week.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

LEFTOVER_AGE = 7 * 24 * 3600  # seconds without a change after which a temporary of another place is taken for dead
OWN_AGE = 3600  # the same for one that has this process's own number, where there are no locks
_NAME = re.compile(r"\.(?P<name>.+)\.tmp-(?P<place>[^-]+)-(?P<pid>[1-9][0-9]{0,9})-[0-9a-f]{8}", re.DOTALL)


@functools.cache
def place() -> str:
    """Eight characters for this host, its start and this process's namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def temporary_name(final: Path) -> Path:
    """A new hidden sibling of a path, in this process's name."""
    return final.parent / f".{_short(final.name)}.tmp-{place()}-{os.getpid()}-{secrets.token_hex(4)}"


def _short(name: str) -> str:
    """A name that leaves room for what a temporary's has besides: no file system takes more than 255 bytes."""
    content = os.fsencode(name)
    return name if len(content) <= 200 else f"{content[:160].decode('utf-8', 'ignore')}~{hashlib.sha256(content).hexdigest()[:8]}"


@contextlib.contextmanager
def writing(temporary: Path) -> Iterator[None]:
    """Hold the lock of a temporary, which is there, while the block runs; nothing where the file system has no locks."""
    descriptor = None
    with contextlib.suppress(OSError):
        descriptor = os.open(temporary, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether a path has the name of a temporary of ours."""
    return _NAME.fullmatch(path.name) is not None


def leftovers(parent: Path, name: str | None = None) -> list[Path]:
    """The temporaries in a folder whose writers are dead; with `name`, those of the file or folder of that name alone."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        found = [(Path(entry.path), _NAME.fullmatch(entry.name)) for entry in entries if ".tmp-" in entry.name]
        wanted = None if name is None else _short(name)
        return sorted(path for path, match in found if match and wanted in (None, match["name"]) and _is_dead(path, match))
    return []


def remove(path: Path) -> None:
    """Delete a file or a folder, as far as that is allowed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _is_dead(path: Path, match: re.Match) -> bool:
    if _is_locked(path):
        return False
    pid = int(match["pid"])
    if match["place"] != place():
        return _unchanged(path) > LEFTOVER_AGE
    if pid == os.getpid():  # of an earlier process of that number, or of another thread
        return _unchanged(path) > OWN_AGE
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # no locks here
        return False
    finally:
        os.close(descriptor)


def _unchanged(path: Path) -> float:
    """Seconds since something in a file or folder has changed."""
    newest = 0.0
    for entry in (path, *(path.rglob("*") if path.is_dir() else ())):
        with contextlib.suppress(OSError):
            newest = max(newest, entry.lstat().st_mtime)
    return time.time() - newest
