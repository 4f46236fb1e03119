"""The small files of a model folder (JSON objects and line lists), and placeholders of files that were never downloaded."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert.data.content import detect_format
from tinybert.errors import UserError

_LARGEST_TEXT = 64_000_000  # bytes; the largest vocabularies have five million
_LFS = b"version https://git-lfs.github.com/spec/"


def names_in(folder: Path) -> str:
    """The first names in a folder, for messages."""
    return ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"


def check_not_placeholder(path: str | Path) -> None:
    """Reject a file that is empty, a Git LFS pointer or a web page, whatever its name.

    Raises:
        UserError: it is one of these; the message says how to get the actual file.
    """
    with open(path, "rb") as file:
        start = file.read(512)
    plain = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        raise UserError(f"{path} is empty.\nDownload it again: the copy or download was incomplete.")
    if start.startswith(_LFS):
        raise UserError(
            f"{path} is a Git LFS pointer of {Path(path).stat().st_size} bytes, a placeholder for the actual file.\n"
            "Get the file with `git lfs pull` in the cloned repository, or download it from the model's page."
        )
    if plain.startswith((b"<!doctype html", b"<html")):
        raise UserError(f"{path} is a web page (HTML), not the expected file.\nDownload the file itself, not its web page.")


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        UserError: a placeholder, more than 64 MB, or another encoding.
    """
    check_not_placeholder(path)
    size = Path(path).stat().st_size
    if size > _LARGEST_TEXT:
        raise UserError(f"{path} has {size} bytes; expected at most {_LARGEST_TEXT}. It is not the expected file.")
    content = Path(path).read_bytes()
    if (known := detect_format(content[:64])) is not None:
        raise UserError(f"{path} is {known[0]}; expected UTF-8 text.\n{known[1].replace('FILE', Path(path).name)}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}).\nSave it again as UTF-8, or download it again.") from None


def read_json_object(path: str | Path) -> dict:
    """Read a JSON object.

    Raises:
        UserError: see `read_text`; not JSON, nested too deeply, or not an object.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.\nCorrect it, or download it again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; expected a JSON object.")
    return content
