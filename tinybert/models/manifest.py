"""Whether the files of a model folder are the ones that this project wrote there."""

from __future__ import annotations

import os
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
