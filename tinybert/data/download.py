"""Downloads task files from PaddleNLP's servers.

The environment variable TINYBERT_MIRROR (such as `http://127.0.0.1:8000`) replaces scheme and host of every URL; its path, if any,
is prepended to the original path.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import http.client
import lzma
import os
import shutil
import struct
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit, urlunsplit

from tinybert import runtime, storage
from tinybert.data.progress import TextProgress
from tinybert.data.tasks import Task
from tinybert.errors import UserError
from tinybert.log import logger

TIMEOUT = 30  # seconds without data
MAX_UNPACKED = 1 << 30  # bytes of one unpacked file; the largest published one has 120 MB
# exceptions of zipfile besides its own: encrypted members, unknown compressions, broken streams, headers of other programs
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, struct.error, ValueError,
)  # fmt: skip
_MRPC_TEST_HEADER = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n"


class DownloadError(UserError):
    """A file could not be downloaded, or has unexpected content."""


def mirrored(url: str) -> str:
    """The URL with scheme and host of TINYBERT_MIRROR, if that is set."""
    mirror = os.environ.get("TINYBERT_MIRROR")
    if not mirror:
        return url
    try:
        base, parts = urlsplit(mirror.rstrip("/")), urlsplit(url)
        usable = base.scheme in ("http", "https") and bool(base.hostname) and base.port != 0
    except ValueError:  # an incomplete IPv6 address, or a port that is not a number
        usable = False
    if not usable or not mirror.isprintable() or " " in mirror or base.query or base.fragment:
        raise UserError(f"TINYBERT_MIRROR={mirror!r} is not an address such as http://127.0.0.1:8000: correct or unset it")
    return urlunsplit((base.scheme, base.netloc, base.path + parts.path, parts.query, ""))


def fetch(url: str, path: str | Path, *, md5: str | None = None) -> Path:
    """Download a file atomically; an existing file is returned unchanged.

    Raises:
        DownloadError: the host does not answer, the transfer is incomplete, or the content has another md5.
    """
    path = Path(path)
    with _locked(path):
        if not path.exists():
            with storage.new_file(path, keep_existing=True) as out:
                _stream(mirrored(url), out, md5)
    return path


def _locked(path: Path) -> contextlib.AbstractContextManager[None]:
    return storage.lock(path.parent / f".{path.name}")


def _published_md5(answer: http.client.HTTPResponse) -> str | None:
    """The MD5 of the content sent by the host (Content-MD5, RFC 1864), as a hexadecimal string; None if it sends none."""
    try:
        digest = base64.b64decode(answer.headers.get("Content-MD5") or "", validate=True)
    except ValueError:
        return None
    return digest.hex() if len(digest) == 16 else None


def _stream(url: str, out: BinaryIO, md5: str | None) -> None:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "tinybert"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            expected = md5 or _published_md5(answer)
            done, found = _copy(answer, out, size, PurePosixPath(urlsplit(url).path).name)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: the host answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise DownloadError(f"{url} could not be downloaded: {getattr(error, 'reason', None) or error}") from error
    # a broken connection ends the stream without an exception
    if size and done != size:
        raise DownloadError(f"{url}: the transfer stopped after {done} of {size} bytes. Try again.")
    if expected not in (None, found):
        raise DownloadError(
            f"{url}: md5 {found} found, {expected} expected. The file is not the published one or was corrupted in transfer."
        )


def _copy(answer: http.client.HTTPResponse, out: BinaryIO, size: int, name: str) -> tuple[int, str]:
    """Write the response; returns its size in bytes and its md5."""
    done, digest, progress = 0, hashlib.md5(usedforsecurity=False), TextProgress(name, size, "bytes")
    while block := answer.read(1 << 18):
        out.write(block)
        done += len(block)
        digest.update(block)
        progress.show(done, done)
    return done, digest.hexdigest()


def download_task(task: Task, folder: str | Path) -> list[Path]:
    """Download the files of a known task that are missing in `folder`; returns those written. Existing files are kept.

    Raises:
        DownloadError: the task has no published URL, or a file could not be downloaded.
    """
    table = _published_table()
    if task.name.lower() not in table:
        raise DownloadError(f"{task.name} has no published address")
    entry = table[task.name.lower()]
    folder = Path(folder)
    check_writable(folder)
    with _locked(folder):
        storage.recover(folder)
        files = {split.file for name, split in task.splits.items() if name != "train_aug"}
        missing = sorted(file for file in files if not (folder / file).exists())
        if not missing:
            return []
        folder.mkdir(parents=True, exist_ok=True)
        write = _write_mrpc if isinstance(entry["url"], dict) else _write_from_zip
        try:
            write(entry, folder, missing)
        finally:
            storage.remove_empty([folder])
    written = [folder / file for file in missing if (folder / file).exists()]
    logger.info(f"{task.name}: {', '.join(path.name for path in written) or 'nothing'} -> {folder}")
    return written


def check_writable(folder: Path) -> None:
    """Reject a download folder that is not writable.

    Raises:
        DownloadError: names the folder.
    """
    there = storage.existing_parent(folder)
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise DownloadError(f"{folder} cannot be written: {'no permission in' if there.is_dir() else 'a file exists at'} {there}.")


def _published_table() -> dict[str, dict]:
    try:
        glue, clue = runtime.paddlenlp("datasets.glue").Glue, runtime.paddlenlp("datasets.clue").Clue
        chn = runtime.paddlenlp("datasets.chnsenticorp").ChnSentiCorp
    except Exception as error:  # PaddleNLP's import fails in many ways, depending on the installed packages
        raise DownloadError(f"the addresses come from PaddleNLP, which cannot be imported: {error}") from error
    chinese = {"url": chn.URL, "md5": chn.MD5, "splits": {name: list(meta) for name, meta in chn.SPLITS.items()}}
    return {**glue.BUILDER_CONFIGS, **clue.BUILDER_CONFIGS, "chnsenticorp": chinese}


def _write_from_zip(entry: dict, folder: Path, missing: list[str]) -> None:
    archive = folder / PurePosixPath(urlsplit(entry["url"]).path).name
    kept = archive.exists()
    fetch(entry["url"], archive, md5=entry["md5"])
    # only these members, matched by path suffix, are opened, and only the file name is used for the output path
    members = {PurePosixPath(split[0].replace(os.sep, "/")) for split in entry["splits"].values()}
    try:
        with zipfile.ZipFile(archive) as content:
            for member in sorted(members):
                name = _in_archive(member, content.namelist())
                if member.name in missing and name is not None:
                    size = content.getinfo(name).file_size
                    if size > MAX_UNPACKED:
                        raise DownloadError(
                            f"{archive}: {name} unpacks to {size / 1e9:.1f} GB, more than any task. Download the archive again."
                        )
                    with content.open(name) as source, storage.new_file(folder / member.name, keep_existing=True) as out:
                        shutil.copyfileobj(source, out, 1 << 20)
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a position before the beginning of the archive
            raise
        raise DownloadError(f"{archive} is not a readable zip archive: {error}. Delete it and try again.") from error
    finally:
        if not kept:
            archive.unlink(missing_ok=True)


def _in_archive(member: PurePosixPath, names: list[str]) -> str | None:
    """The archive member for a file: the published path or a suffix of it, since archives may lack the top-level folder."""
    ends = {"/".join(member.parts[i:]) for i in range(len(member.parts))}
    found = [name for name in names if name in ends]
    return max(found, key=len, default=None)


def _write_mrpc(entry: dict, folder: Path, missing: list[str]) -> None:
    """MRPC is not published as GLUE files: the corpus has train and test files, and a list of ids selects the dev rows."""

    def source(part: str) -> Path:
        url = entry["url"][part]
        return fetch(url, folder / PurePosixPath(urlsplit(url).path).name, md5=entry["md5"][part])

    if "train.tsv" in missing or "dev.tsv" in missing:
        corpus = source("train_data")
        listed = source("dev_id")
        with _utf8(listed):
            lines = listed.read_text(encoding="utf-8-sig").split("\n")
        dev_ids = {tuple(line.strip().split("\t")) for line in lines}
        for file, wanted in (("train.tsv", False), ("dev.tsv", True)):
            if file in missing:
                _copy_rows(
                    corpus,
                    folder / file,
                    None,
                    lambda row, _, w=wanted: row if ((row[1], row[2]) in dev_ids) == w else None,
                )
    if "test.tsv" in missing:
        # the corpus' test file contains the answers; GLUE's does not
        _copy_rows(source("test_data"), folder / "test.tsv", _MRPC_TEST_HEADER, lambda row, i: [str(i), *row[1:]])


@contextlib.contextmanager
def _utf8(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise DownloadError(f"{path} is not UTF-8 text: {error}. Delete it and try again.") from error


def _copy_rows(source: Path, target: Path, header: str | None, change: Callable[[list[str], int], list[str] | None]) -> None:
    with _utf8(source), open(source, encoding="utf-8", newline="\n") as lines, storage.new_file(target, keep_existing=True) as out:
        own_header = next(lines, "")
        out.write((header or own_header.rstrip("\r\n") + "\n").encode())
        for i, line in enumerate(lines):
            row = line.strip().split("\t")
            if len(row) != 5:
                raise DownloadError(f"{source}, line {i + 2}: {len(row)} columns found, 5 expected")
            new = change(row, i)
            if new is not None:
                out.write(("\t".join(new) + "\n").encode())
