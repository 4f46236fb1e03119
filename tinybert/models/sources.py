"""Checks whether several weight files in one folder are the same model."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinybert.errors import UserError
from tinybert.models.names import unwrapped
from tinybert.models.weights import read_file, weights_files

# rounding of half precision, relative to a number (bfloat16 has 8 bits, sometimes truncated), and of the smallest float16 numbers
_HALF_RELATIVE, _HALF_ABSOLUTE = 2**-7, 2**-24


def compare_other_files(file: Path, arrays: dict[str, np.ndarray], renamed: Callable[[dict], dict]) -> list[str]:
    """Compare the loaded weights with those of the other files in their folder; returns a description if they are equal.

    renamed: converts the names in another file to those of `arrays`.

    Raises:
        UserError: another file has different weights, so it is unclear which one is meant.
    """
    others = [other for other in weights_files(file.parent) if other != file]
    for other in others:
        theirs = renamed(unwrapped(read_file(other), str(other)))
        if unlike := _unlike(arrays, theirs):
            times = {path: time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime)) for path in (file, other)}
            when = " and ".join(f"{path.name} of {date}" for path, date in times.items())
            raise UserError(
                f"{file.parent} contains two files with different weights: {when} ({unlike}).\n"
                "Only one of them is the model: remove the other."
            )
    return [f"using {file.name}; {', '.join(other.name for other in others)} has the same weights"] if others else []


def _unlike(arrays: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> str:
    """The first weight in which two files differ; empty if each has the encoder and the classifier of the other."""
    for name in sorted(arrays.keys() ^ others.keys()):
        if ".encoder." in name or name.startswith("classifier."):
            return f"'{name}' is only in one of them"
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
    """Whether float32 numbers have no more precision than float16 or bfloat16."""
    return not (np.ascontiguousarray(array).view(np.uint32) & 0x1FFF).any()
