"""Files and folders on disk that are either complete or invisible.

A writer fills a hidden sibling (see `temporaries`), flushes it to the disk and renames it over the final name; what a killed writer has
left is deleted when the same name is written again. A folder carries `manifest.json` with the size and sha256 of each of its files, so a
reader can tell a whole folder from a damaged one, and this program's folders from other people's.
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
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # what file systems without locks answer


# what NumPy's reader of headers, JSON and checks of their content raise for what this program did not write
_NOT_OURS = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, MemoryError, SyntaxError, tokenize.TokenError,
)  # fmt: skip


class DamagedError(Exception):
    """A folder does not agree with its manifest: a file is missing, short, or its sha256 differs."""


@contextlib.contextmanager
def reading(folder: str | Path) -> Iterator[None]:
    """Read arrays and JSON of a folder in the block: whatever their content makes fail is damage.

    Raises:
        DamagedError: names the folder.
    """
    try:
        yield
    except _NOT_OURS as error:
        raise DamagedError(f"{folder} contains something other than plain arrays of rows: {error}") from error


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content, as hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def known_sha256(path: str | Path) -> str:
    """The same, computed once a process for a file of this size and time of change."""
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
    """Write a file whole: the old content stays until the new one is on the disk."""
    with _new_file(Path(path)) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def new_file(path: str | Path, keep_existing: bool = False) -> Iterator[BinaryIO]:
    """Yield a file that takes the name `path` when the block ends without an exception.

    keep_existing: a file that somebody has put there meanwhile stays.
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
    """Write a JSON document whole, see `write_file`."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n")


@contextlib.contextmanager
def new_folder(path: str | Path, replace: bool = False, keep_others: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an exception.

    With `replace`, an existing folder is exchanged for the new one in a single step, then deleted; without, an existing folder
    raises FileExistsError before anything is written. keep_others: what somebody else has put into the existing folder, which its manifest
    does not list, moves over to the new one.
    """
    final = Path(path)
    if final.exists() and not replace:
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
        # after an exchange the temporary name holds the old folder; after a failure, the unfinished one
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(final: Path) -> None:
    """Delete what killed writers have left of this name."""
    for dead in temporaries.leftovers(final.parent, final.name):
        temporaries.remove(dead)


def _carry_over(old: Path, new: Path) -> None:
    """Move what the manifest of an old folder does not list into the new one, unless something has its name there."""
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

    Returns the names that were restored or deleted. Temporaries of living processes are left alone, and so is whatever else has such a
    name.
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
    """Whether this program has written a folder: it has a manifest of ours."""
    try:
        _read_manifest(Path(folder))
        return True
    except DamagedError:
        return False


def remove_own(folder: str | Path) -> None:
    """Delete what this program has written: a folder with a manifest, or all of these below a folder. What is somebody else's stays."""
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
    """The bytes and the sha256 of each file of a folder, by name.

    Raises:
        DamagedError: there is no manifest, or it says something else.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        if outside := [name for name in files if os.path.isabs(name) or ".." in name.split("/")]:
            raise ValueError(f"it lists {outside[0]!r}, which is outside the folder")
        return {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{folder} has no readable {MANIFEST} ({type(error).__name__}: {error})") from error


def changed_files(folder: str | Path) -> list[str]:
    """The files in a folder's manifest that are gone or have other bytes now; none where it has no manifest of ours. Each file is read
    once a process.
    """
    folder = Path(folder)
    try:
        recorded = _read_manifest(folder)
    except DamagedError:  # no manifest, or another program's file of this name
        return []
    return [name for name, (size, sha256) in recorded.items() if not _is_as_written(folder / name, size, sha256)]


def _is_as_written(path: Path, size: int, sha256: str) -> bool:
    # os.path.isfile takes a name that no file can have for none
    return os.path.isfile(path) and path.stat().st_size == size and known_sha256(path) == sha256


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
def lock(path: str | Path, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on `<path>.lock` while the block runs; a second process waits for it.

    The file goes with the lock, and so do folders that were made for it and stayed empty. On a file system without locks nobody waits.

    Raises:
        BlockingIOError: another process has it and `wait` is False.
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
    """An exclusive lock on a file, made for it, within so many seconds (-1: for ever). It ends with the process, however that ends.

    None where the file system has no locks: every write is whole or not there, so two processes at most do the same work twice.

    Raises:
        filelock.Timeout: another process has it.
        OSError: nothing may be written there.
    """
    files: list[os.stat_result] = []
    held = FileLock(lock_file, timeout, thread_local=False, fallback_to_soft=False, on_acquired=lambda file: files.append(os.fstat(file)))
    while True:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
            if os.path.samestat(os.stat(lock_file), files[-1]):
                return held
        except FileNotFoundError:  # whoever held it has deleted the file, or its folder too, meanwhile: take the lock on a new one
            pass
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise
            lock_file.unlink(missing_ok=True)
            return None
        held.release()


def drop_lock(held: FileLock | None) -> None:
    """Give back what `take_lock` took, and delete the file."""
    if held is not None:
        Path(held.lock_file).unlink(missing_ok=True)
        held.release()


def remove_empty(folders: list[Path]) -> None:
    """Delete those of these folders that are empty, the innermost first."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
