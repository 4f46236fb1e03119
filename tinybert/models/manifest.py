"""Whether the files of a model folder are the ones that this project wrote there."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert import runtime, storage
from tinybert.errors import UserError
from tinybert.log import logger

# files that users edit, such as the label names; a change is said, and they are read as they are
_TEXTS = {"config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"}


def check_manifest(folder: Path) -> None:
    """Compare a folder that this project has written with the sums in its manifest, each file once a process.

    A text file that was edited since is read as it is, with a warning; weights and programs must be the ones that were written.

    Raises:
        UserError: a file of weights or a program is gone, or has other bytes.
    """
    for name, (size, sha256) in _recorded(folder).items():
        path = folder / name
        advice = f"If that was done on purpose, delete {storage.MANIFEST} there; otherwise copy the folder again, or train anew."
        if not path.is_file():
            if name not in _TEXTS:
                raise UserError(f"{folder} was written with {name}, which is gone.\n{advice}")
        elif path.stat().st_size != size or storage.known_sha256(path) != sha256:
            if name not in _TEXTS:
                raise UserError(
                    f"{path} is not the file that was written: {path.stat().st_size} bytes, expected {size} with the sha256 of "
                    f"{storage.MANIFEST}.\n{advice}"
                )
            if runtime.rank() == 0:
                logger.warning(f"{path} was changed after it was written; it is read as it is now")


def _recorded(folder: Path) -> dict[str, tuple[int, str]]:
    """Bytes and sha256 by name in a manifest of this project; nothing where there is none."""
    try:
        content = json.loads((folder / storage.MANIFEST).read_text(encoding="utf-8"))
        return {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # no file of this name, or another program's
