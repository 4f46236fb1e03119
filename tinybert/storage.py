"""Files and folders that are either complete or invisible.

A writer fills a hidden sibling (see `temporaries`), flushes it to disk and renames it to the final name; leftovers of a killed writer are
deleted when the same name is written again. A folder has a `manifest.json` with the size and sha256 of each of its files, so that
readers can detect damaged folders and folders of other programs.
Nothing here imports Paddle.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import os
import shutil
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from tinybert import temporaries
from tinybert.temporaries import temporary_name

MANIFEST = "manifest.json"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # errors of file systems without locks


# raised by NumPy's header reader, JSON and content checks for files that this program did not write
_NOT_OURS = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, MemoryError, SyntaxError, tokenize.TokenError,
)  # fmt: skip


class DamagedError(Exception):
    """A folder does not match its manifest: a file is missing or truncated, or its sha256 differs."""


@contextlib.contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Read arrays and JSON of a folder in this block; errors caused by their content are reported as damage.

    Raises:
        DamagedError: names the folder.
    """
    try:
        yield
    except _NOT_OURS as error:
        raise DamagedError(f"{folder} contains something other than plain arrays of rows: {error}") from error


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content as a hexadecimal string."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: str | Path) -> str:
    """The same, cached per process by size and modification time."""
    status = Path(path).stat()
    return _sha256_once(os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256_once(path: str, inode: int, size: int, changed: int) -> str:
    return sha256_of(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: str | Path, content: str | bytes) -> None:
    """Write a file atomically: the old content is kept until the new one is on disk."""
    with _new_file(Path(path)) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def new_file(path: str | Path, keep_existing: bool = False) -> Iterator[BinaryIO]:
    """Yield a file that is renamed to `path` when the block ends without an exception.

    keep_existing: do not replace a file that was created meanwhile.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final)
    with _new_file(final, keep_existing) as file:
        yield file


@contextlib.contextmanager
def _new_file(final: Path, keep_existing: bool = False) -> Iterator[BinaryIO]:
    temporary = temporary_name(final)
    try:
        with open(temporary, "wb") as file, temporaries.writing(temporary):
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not (keep_existing and final.exists()):
                os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(final.parent)


def write_json(path: str | Path, value: object) -> None:
    """Write a JSON document atomically, see `write_file`."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


@contextlib.contextmanager
def new_folder(path: str | Path, replace: bool = False, keep_others: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an exception.

    With `replace`, an existing folder is exchanged for the new one in a single step, then deleted; otherwise an existing folder
    that is not empty raises FileExistsError before anything is written. keep_others: files in the existing folder that its manifest
    does not list are moved to the new one.
    """
    final = Path(path)
    if final.exists() and not replace and not (final.is_dir() and not any(final.iterdir())):
        raise FileExistsError(str(final))
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final)
    temporary = temporary_name(final)
    temporary.mkdir()
    try:
        with temporaries.writing(temporary):
            yield temporary
            _write_manifest(temporary)
            for file in temporary.rglob("*"):
                _fsync(file)
            _fsync(temporary)
            _move_over(temporary, final)
            if keep_others:
                _carry_over(temporary, final)
    finally:
        # after an exchange the temporary name is the old folder; after a failure, the incomplete one
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(final: Path) -> None:
    """Delete leftovers of killed writers of this name."""
    for dead in temporaries.leftovers(final.parent, final.name):
        temporaries.remove(dead)


def _carry_over(old: Path, new: Path) -> None:
    """Move files that the manifest of an old folder does not list to the new one, unless the name is taken."""
    with contextlib.suppress(DamagedError, OSError):
        known = {Path(name).parts[0] for name in _read_manifest(old)} | {MANIFEST}
        for entry in list(old.iterdir()):
            if entry.name not in known and not (new / entry.name).exists():
                os.rename(entry, new / entry.name)


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
    """Swap two names atomically (Linux renameat2); False if the system or file system does not support it."""
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
    """Clean up after a killed writer in a folder: restore a name lost between two renames, delete stale temporaries.

    Returns the names that were restored or deleted. Temporaries of running processes and files of other programs are not touched.
    """
    parent = Path(parent)
    done = []
    for entry in parent.glob(".*.old"):
        if is_own(entry):
            final = parent / entry.name[1:-4]
            if final.exists():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                os.rename(entry, final)
            done.append(entry.name)
    for dead in temporaries.leftovers(parent):
        temporaries.remove(dead)
        done.append(dead.name)
    return done


def is_own(folder: str | Path) -> bool:
    """Whether a folder was written by this program: it has a manifest of ours."""
    try:
        _read_manifest(Path(folder))
        return True
    except DamagedError:
        return False


def files_of_others(folder: str | Path) -> list[str]:
    """The files in a folder and below it that its manifest does not list."""
    folder = Path(folder)
    try:
        known = {*_read_manifest(folder), MANIFEST}
    except DamagedError:
        known = set()
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for name in files if name not in known)


def remove_own(folder: str | Path) -> None:
    """Delete a folder with a manifest of ours, or all such folders below it. Other files are kept."""
    folder = Path(folder)
    if folder.is_symlink() or not folder.is_dir():
        return
    if is_own(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    for entry in list(folder.iterdir()):
        if temporaries.is_temporary(entry):
            temporaries.remove(entry)
        else:
            remove_own(entry)
    remove_empty([folder])


def _read_manifest(folder: Path) -> dict[str, tuple[int, str]]:
    """The size and the sha256 of each file of a folder, by name.

    Raises:
        DamagedError: there is no manifest, or it is malformed.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        if outside := [name for name in files if os.path.isabs(name) or ".." in name.split("/")]:
            raise ValueError(f"it lists {outside[0]!r}, which is outside the folder")
        return {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{folder} has no readable {MANIFEST} ({type(error).__name__}: {error})") from error


def changed_files(folder: str | Path) -> list[str]:
    """The files of a folder's manifest that are missing or changed; none if it has no manifest of ours. Each file is read once per
    process.
    """
    folder = Path(folder)
    try:
        recorded = _read_manifest(folder)
    except DamagedError:  # no manifest, or another program's file of this name
        return []
    return [name for name, (size, sha256) in recorded.items() if not _is_as_written(folder / name, size, sha256)]


def _is_as_written(path: Path, size: int, sha256: str) -> bool:
    # os.path.isfile returns False for invalid names
    return os.path.isfile(path) and path.stat().st_size == size and known_sha256(path) == sha256


def is_complete(folder: str | Path) -> bool:
    """Whether a folder has a manifest and all its files with the recorded sizes (fast, without hashing)."""
    folder = Path(folder)
    try:
        return all((folder / name).stat().st_size == size for name, (size, _) in _read_manifest(folder).items())
    except (DamagedError, OSError, ValueError):  # ValueError: an invalid file name
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
def lock(path: str | Path, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on `<path>.lock` in this block; other processes wait for it.

    The file is deleted with the lock, as are folders created for it that are still empty. Without file-system locks nobody waits.

    Raises:
        BlockingIOError: another process holds it and `wait` is False.
    """
    lock_file = Path(f"{path}.lock")
    made = [folder for folder in lock_file.parents if not folder.exists()]
    try:
        held = take_lock(lock_file, -1 if wait else 0)
        try:
            yield
        finally:
            drop_lock(held)
    except Timeout:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(lock_file)) from None
    finally:
        remove_empty(made)


def take_lock(lock_file: Path, timeout: float = -1) -> FileLock | None:
    """Take an exclusive lock on a new file within `timeout` seconds (-1: no limit). It is released when the process ends.

    None if the file system does not support locks: writes are atomic, so at worst two processes do the same work.

    Raises:
        filelock.Timeout: another process holds it.
        OSError: the folder is not writable.
    """
    files: list[os.stat_result] = []
    held = FileLock(lock_file, timeout, thread_local=False, fallback_to_soft=False, on_acquired=lambda file: files.append(os.fstat(file)))
    while True:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
            if os.path.samestat(os.stat(lock_file), files[-1]):
                return held
        except FileNotFoundError:  # the previous holder has deleted the file or its folder: lock a new one
            pass
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            lock_file.unlink(missing_ok=True)
            return None
        held.release()


def drop_lock(held: FileLock | None) -> None:
    """Release a lock from `take_lock` and delete the file."""
    if held is not None:
        Path(held.lock_file).unlink(missing_ok=True)
        held.release()


def existing_parent(path: Path) -> Path:
    """A path, or its closest existing parent."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def remove_empty(folders: list[Path]) -> None:
    """Delete those of these folders that are empty, innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
