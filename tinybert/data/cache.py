"""Folders in the cache, named by the sha256 of what they depend on: opened if complete, otherwise built once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tinybert import storage
from tinybert.data.places import cache_home
from tinybert.errors import UserError
from tinybert.log import logger

T = TypeVar("T")


def cache_folder(kind: str, description: dict) -> Path:
    """The folder in `cache_home()` for what `description` identifies."""
    return cache_home() / kind / hashlib.sha256(json.dumps(description, sort_keys=True).encode("utf-8")).hexdigest()


def open_cached(kind: str, description: dict, read: Callable[[Path], T], build: Callable[[Path], None]) -> T:
    """The result of `read` for the folder of `description`; `build` fills a new folder unless this was done by an earlier run or another
    process.

    If several processes ask at once, one builds it and the others wait. `read` raises DamagedError for a folder that is not complete.

    Raises:
        UserError: the cache is not writable, or `build` fails.
    """
    target = cache_folder(kind, description)
    with contextlib.suppress(storage.DamagedError):
        return read(target)
    try:
        with storage.lock(target):
            with contextlib.suppress(storage.DamagedError):
                return read(target)
            if target.exists():
                logger.warning(f"The cache {target} is damaged and is rebuilt.")
            storage.recover(target.parent)
            with storage.new_folder(target, replace=True) as new:
                build(new)
    except OSError as error:
        raise UserError(
            f"The cache {target.parent} cannot be written: {error}. "
            "Free disk space, or set the environment variable TINYBERT_CACHE to another folder."
        ) from error
    return read(target)
