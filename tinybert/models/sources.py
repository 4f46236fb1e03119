"""Whether a model folder means one model: its files against its manifest, and several files of weights against each other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinybert import runtime, storage
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.names import unwrapped
from tinybert.models.weights import READERS, read_file, weights_file, weights_files

# rounding of half precision, relative to a number (bfloat16 keeps 8 bits, cut off by some), and of the smallest float16 numbers
_HALF_RELATIVE, _HALF_ABSOLUTE = 2**-7, 2**-24


def check_manifest(folder: Path) -> None:
    """Compare the files of a folder that this project has written with the sums in its manifest.

    A text file that was edited since is read as it is, with a warning; weights must be the ones that were written.

    Raises:
        UserError: the weights are gone, shorter or have other bytes.
    """
    recorded = _recorded(folder)
    if recorded is None:
        return
    weights = weights_file(folder).name
    if weights not in recorded and any(name in recorded for name in READERS):
        written = next(name for name in READERS if name in recorded)
        raise UserError(
            f"{folder} was written with {written}, which is gone; {weights} was put there later.\n"
            f"If that is meant, delete {storage.MANIFEST} there."
        )
    edited = [name for name, entry in recorded.items() if name != weights and (folder / name).is_file() and _sums(folder / name) != entry]
    for name in edited:
        if runtime.rank() == 0:
            logger.warning(f"{folder / name} was changed after it was written; it is read as it is now")
    if weights in recorded and _sums(folder / weights) != recorded[weights]:
        raise UserError(
            f"{folder / weights} is not the file that was written: {(folder / weights).stat().st_size} bytes, expected "
            f"{recorded[weights][0]} with the sha256 of {storage.MANIFEST}.\nIt is damaged: copy the folder again, or train anew. If "
            f"it was replaced on purpose, delete {storage.MANIFEST} there."
        )


def _sums(path: Path) -> tuple[int, str]:
    return path.stat().st_size, storage.known_sha256(path)


def _recorded(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Bytes and sha256 by name of a manifest of this project; None where there is none."""
    try:
        content = json.loads((folder / storage.MANIFEST).read_text(encoding="utf-8"))
        return {str(name): (entry["bytes"], entry["sha256"]) for name, entry in content["files"].items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # another program's file of this name


def compare_other_files(file: Path, arrays: dict[str, np.ndarray], renamed: Callable[[dict], dict]) -> list[str]:
    """Compare the weights that were read with those of the other files in their folder; says in words that they are equal.

    renamed: gives the arrays of another file the names that `arrays` have.

    Raises:
        UserError: another file holds other weights, so that it is not known which of them is meant.
    """
    others = [other for other in weights_files(file.parent) if other != file]
    for other in others:
        theirs = renamed(unwrapped(read_file(other), str(other)))
        if unlike := _unlike(arrays, theirs):
            times = {path: time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime)) for path in (file, other)}
            when = " and ".join(f"{path.name} of {date}" for path, date in times.items())
            raise UserError(
                f"{file.parent} holds two files with different weights: {when} ({unlike}).\n"
                "Only one of them is the model: move the other away."
            )
    return [f"{file.name} taken, {', '.join(other.name for other in others)} holds the same weights"] if others else []


def _unlike(arrays: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> str:
    """In which weight two files differ; nothing where each has the encoder and the classifier of the other."""
    for name in sorted(arrays.keys() ^ others.keys()):
        if ".encoder." in name or name.startswith("classifier."):
            return f"'{name}' is in one of them alone"
    for name in sorted(arrays.keys() & others.keys()):
        one, other = arrays[name], others[name]
        if one.shape != other.shape:
            return f"'{name}' has the shapes {list(one.shape)} and {list(other.shape)}"
        if not (np.array_equal(one, other) or _equal_when_rounded(one, other)):
            return f"they differ in '{name}'"
    return ""


def _equal_when_rounded(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one of two arrays is the other in half precision."""
    if one.dtype != np.float32 or other.dtype != np.float32 or not (_is_half(one) or _is_half(other)):
        return False
    return bool(np.allclose(one, other, rtol=_HALF_RELATIVE, atol=_HALF_ABSOLUTE))


def _is_half(array: np.ndarray) -> bool:
    """Whether float32 numbers have no more bits than float16 or bfloat16 keeps."""
    return not (np.ascontiguousarray(array).view(np.uint32) & 0x1FFF).any()
