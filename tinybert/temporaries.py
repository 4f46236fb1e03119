"""Names, locks and cleanup of files and folders that are being written.

A temporary is named `.<name>.tmp-<place>-<pid>-<random>`. The place identifies host, boot and PID namespace: only there is the process
number meaningful. A running writer also locks it, if the file system supports locks, which processes in other namespaces of the
machine can see. Any other temporary is considered stale if nothing in it has changed for a week.
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

LEFTOVER_AGE = 7 * 24 * 3600  # seconds without changes after which a temporary of another place is considered stale
OWN_AGE = 3600  # the same for this process's own number on file systems without locks
_NAME = re.compile(r"\.(?P<name>.+)\.tmp-(?P<place>[^-]+)-(?P<pid>[1-9][0-9]{0,9})-[0-9a-f]{8}", re.DOTALL)


@functools.cache
def place() -> str:
    """Eight characters that identify the host, its boot and this process's namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def temporary_name(final: Path) -> Path:
    """A new hidden sibling of a path for this process."""
    return final.parent / f".{_short(final.name)}.tmp-{place()}-{os.getpid()}-{secrets.token_hex(4)}"


def _short(name: str) -> str:
    """The name, truncated so that the temporary name stays within the 255 bytes that file systems allow."""
    content = os.fsencode(name)
    return name if len(content) <= 200 else f"{content[:160].decode('utf-8', 'ignore')}~{hashlib.sha256(content).hexdigest()[:8]}"


@contextlib.contextmanager
def writing(temporary: Path) -> Iterator[None]:
    """Hold the lock of an existing temporary in this block; without effect if the file system does not support locks."""
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
    """Whether a path is named like our temporaries."""
    return _NAME.fullmatch(path.name) is not None


def leftovers(parent: Path, name: str | None = None) -> list[Path]:
    """The stale temporaries in a folder; with `name`, only those of the file or folder of that name."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        found = [(Path(entry.path), _NAME.fullmatch(entry.name)) for entry in entries if ".tmp-" in entry.name]
        wanted = None if name is None else _short(name)
        return sorted(path for path, match in found if match and wanted in (None, match["name"]) and _is_dead(path, match))
    return []


def remove(path: Path) -> None:
    """Delete a file or folder, as far as permitted."""
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
    if pid == os.getpid():  # of an earlier process with that number, or of another thread
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
    except OSError:  # no lock support
        return False
    finally:
        os.close(descriptor)


def _unchanged(path: Path) -> float:
    """Seconds since the last change in a file or folder."""
    newest = 0.0
    for entry in (path, *(path.rglob("*") if path.is_dir() else ())):
        with contextlib.suppress(OSError):
            newest = max(newest, entry.lstat().st_mtime)
    return time.time() - newest
