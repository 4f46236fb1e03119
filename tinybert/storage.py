"""Files and folders on disk that are either complete or invisible.

A writer fills a hidden sibling (`.<name>.tmp-<host>-<pid>-<random>`), flushes it to the disk and renames it over the final name.
A folder carries `manifest.json` with the size and sha256 of each of its files, so a reader can tell a whole folder from a damaged one.
Nothing here imports Paddle.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "manifest.json"
LEFTOVER_AGE = 7 * 24 * 3600  # seconds after which a temporary of another host is taken for dead


class DamagedError(Exception):
    """A folder does not agree with its manifest: a file is missing, short, or its sha256 differs."""


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content, as hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(final: Path) -> Path:
    host = socket.gethostname().replace("-", "_")
    return final.parent / f".{final.name}.tmp-{host}-{os.getpid()}-{secrets.token_hex(4)}"


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write a file whole: the old content stays until the new one is on the disk."""
    final = Path(path)
    temporary = _temporary(final)
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, final)
    except BaseException:  # cleaned up and raised again
        temporary.unlink(missing_ok=True)
        raise
    _fsync(final.parent)


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON document whole, see `write_file`."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


@contextlib.contextmanager
def new_folder(path: str | Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an exception.

    With `replace`, an existing folder is exchanged for the new one in a single step, then deleted; without, an existing folder
    raises FileExistsError before anything is written.
    """
    final = Path(path)
    if final.exists() and not replace:
        raise FileExistsError(str(final))
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(final)
    temporary.mkdir()
    try:
        yield temporary
        _write_manifest(temporary)
        for file in temporary.rglob("*"):
            _fsync(file)
        _fsync(temporary)
        _move_over(temporary, final)
    finally:
        # after an exchange the temporary name holds the old folder; after a failure, the unfinished one
        shutil.rmtree(temporary, ignore_errors=True)


def _write_manifest(folder: Path) -> None:
    files = {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    with open(folder / MANIFEST, "w", encoding="utf-8") as out:
        json.dump({"format": 1, "files": files}, out, indent=1)


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step (Linux renameat2); False where the system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0


def _move_over(temporary: Path, final: Path) -> None:
    if not final.exists():
        os.rename(temporary, final)
    elif not _exchange(temporary, final):
        # two renames: between them only `.<name>.old` exists, and `recover` puts it back
        old = final.parent / f".{final.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        os.rename(final, old)
        os.rename(temporary, final)
        shutil.rmtree(old, ignore_errors=True)
    _fsync(final.parent)


def recover(parent: str | Path) -> list[str]:
    """Finish what a killed writer left in a folder: restore a name lost between two renames, delete dead temporaries.

    Returns the names that were restored or deleted. Temporaries of living processes are left alone.
    """
    parent = Path(parent)
    if not parent.is_dir():
        return []
    done = []
    for entry in list(parent.iterdir()):
        if entry.name.startswith(".") and entry.name.endswith(".old"):
            final = parent / entry.name[1:-4]
            if final.exists():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                os.rename(entry, final)
            done.append(entry.name)
        elif entry.name.startswith(".") and ".tmp-" in entry.name and _is_dead(entry):
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
            done.append(entry.name)
    return done


def _is_dead(temporary: Path) -> bool:
    host, pid, _ = temporary.name.rsplit(".tmp-", 1)[1].split("-", 2)
    if host != socket.gethostname().replace("-", "_"):
        return time.time() - temporary.stat().st_mtime > LEFTOVER_AGE
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return int(pid) == os.getpid() and not _held_here(temporary)


def _held_here(temporary: Path) -> bool:
    # a process asks only between its own writes, so a temporary with its own pid was left by an earlier process of that number,
    # unless another thread is writing now: leave fresh ones alone
    return time.time() - temporary.stat().st_mtime < 3600


def _read_manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """The bytes and the sha256 of each file of a folder, by name.

    Raises:
        DamagedError: there is no manifest, or it says something else.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{folder} has no readable {MANIFEST} ({type(error).__name__}: {error})") from error


def is_complete(folder: str | Path) -> bool:
    """Whether a folder has a manifest and every file of it with the recorded size (a quick look, without hashing)."""
    folder = Path(folder)
    try:
        return all((folder / name).stat().st_size == size for name, (size, _) in _read_manifest(folder).items())
    except (DamagedError, OSError, ValueError):  # ValueError: a name that no file can have
        return False


def verify(folder: str | Path) -> None:
    """Check every file of a folder against its manifest.

    Raises:
        DamagedError: the manifest or a file is missing, a size or a sha256 differs; the message names the file.
    """
    folder = Path(folder)
    for name, (size, sha256) in _read_manifest(folder).items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{folder}: the file {name} is missing")
        if path.stat().st_size != size:
            raise DamagedError(f"{path}: {path.stat().st_size} bytes found, {size} expected")
        if sha256_of(path) != sha256:
            raise DamagedError(f"{path}: its sha256 differs from the manifest's")


@contextlib.contextmanager
def lock(path: str | Path) -> Iterator[None]:
    """Hold an exclusive lock on `<path>.lock` while the block runs; a second process waits for it.

    The file goes with the lock, and so do folders that were made for it and stayed empty.
    """
    lock_file = Path(f"{path}.lock")
    made = [folder for folder in lock_file.parents if not folder.exists()]
    try:
        descriptor = take_lock(lock_file, wait=True)
        try:
            yield
        finally:
            drop_lock(lock_file, descriptor)
    finally:
        remove_empty(made)


def remove_empty(folders: list[Path]) -> None:
    """Delete those of these folders that are empty, the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def take_lock(lock_file: Path, wait: bool) -> int | None:
    """The descriptor that holds an exclusive lock on a file, made for it; None where another process has it and `wait` is False.

    The system lifts the lock when the process ends, however it ends.
    """
    while True:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the folder was empty, and whoever made it has just deleted it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_named(lock_file, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:  # cleaned up and raised again
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever held it has deleted the file meanwhile: take the lock on the new one


def is_named(path: Path, descriptor: int) -> bool:
    """Whether a descriptor is of the file that has this name now."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def drop_lock(lock_file: Path, descriptor: int) -> None:
    """Give back what `take_lock` took, and delete the file."""
    lock_file.unlink(missing_ok=True)
    os.close(descriptor)
