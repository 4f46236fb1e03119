"""Checks whether the files of a model folder are unchanged since this project wrote them."""

from __future__ import annotations

import os
from pathlib import Path

from tinybert import runtime, storage
from tinybert.errors import UserError
from tinybert.log import logger

# files that users edit, such as label names; changes are reported and accepted
_TEXTS = {"config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"}


def check_manifest(folder: Path) -> None:
    """Compare a folder written by this project with its manifest; each file is hashed once per process.

    Edited text files are accepted with a warning; weights and programs must be unchanged.

    Raises:
        UserError: a weight or program file is missing or has changed.
    """
    for name in storage.changed_files(folder):
        if name in _TEXTS and os.path.isfile(folder / name):
            if runtime.rank() == 0:
                logger.warning(f"{folder / name} was changed after it was written; the current content is used")
        elif name not in _TEXTS:
            found = "its sha256 differs from that in" if os.path.isfile(folder / name) else "it is missing, but listed in"
            raise UserError(
                f"{folder / name} is not the saved file: {found} {storage.MANIFEST}.\n"
                f"If this is intended, delete {storage.MANIFEST} there; otherwise copy the folder again or train again."
            )
