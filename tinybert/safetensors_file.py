"""The safetensors format: named arrays in one file, validated when read and written atomically.

The safetensors package is not used: version 0.8.0 reorders the values of arrays that are not contiguous, creates files that other
users cannot read, and cannot return bfloat16 to NumPy. Nothing here imports Paddle.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from tinybert.errors import UserError

_TYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # converted to float32 after reading
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items() if name != "BF16"}
_LARGEST_HEADER = 100_000_000  # limit of the format
_DIMENSIONS = 32  # NumPy's limit


def bfloat16_to_float32(array: np.ndarray) -> np.ndarray:
    """Convert bfloat16, given as uint16 bits of any shape, to float32 exactly."""
    return (array.astype(np.uint32) << 16).view(np.float32)


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read a safetensors file of any framework as arrays by name; bfloat16 is converted to float32.

    Raises:
        UserError: the file is truncated, or its header is inconsistent: every byte must belong to exactly one array.
    """
    path = Path(path)
    try:
        entries, start = _header(path)
        buffer = np.memmap(path, dtype=np.uint8, mode="r", offset=start) if path.stat().st_size > start else np.zeros(0, np.uint8)
        _check_ranges({name: (begin, end) for name, (_, _, begin, end) in entries.items()}, len(buffer))
        arrays = {}
        for name, (kind, shape, begin, end) in entries.items():
            array = np.frombuffer(bytes(buffer[begin:end]), dtype=_TYPES[kind]).reshape(shape)
            arrays[name] = bfloat16_to_float32(array) if kind == "BF16" else array
        return arrays
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError, MemoryError, OverflowError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): it is truncated or damaged. Download it again.") from None


def safetensors_names(path: str | Path) -> list[str]:
    """The names of the arrays in a safetensors file, without reading their values.

    Raises:
        ValueError, KeyError, TypeError, RecursionError: the header is malformed.
    """
    return list(_header(Path(path))[0])


def _header(path: Path) -> tuple[dict[str, tuple[str, tuple[int, ...], int, int]], int]:
    """Type, shape, start and end of each array, and the offset of the data in the file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = file.read(8)
        if len(length) < 8:
            raise ValueError(f"it has {size} bytes")
        (length,) = struct.unpack("<Q", length)
        if length > min(size - 8, _LARGEST_HEADER):
            raise ValueError(f"the header of {length} bytes is longer than the file or the format allows")
        header = json.loads(file.read(length), object_pairs_hook=_once)
    if not isinstance(header, dict):
        raise ValueError(f"the header is a {type(header).__name__}")
    return {name: _entry(name, entry) for name, entry in header.items() if name != "__metadata__"}, 8 + length


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name occurs twice in the header")
    return content


def _entry(name: str, entry: dict) -> tuple[str, tuple[int, ...], int, int]:
    kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"'{name}' has the type {str(kind)[:40]}, which is not supported")
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS or not all(map(_is_count, (*shape, begin, end))):
        raise ValueError(f"'{name}' has no valid shape or offsets")
    count = 1
    for length in shape:
        count *= length
    if end - begin != count * _TYPES[kind].itemsize:
        raise ValueError(f"'{name}' takes {end - begin} bytes, its shape asks for {count * _TYPES[kind].itemsize}")
    return kind, tuple(shape), begin, end


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 56


def _check_ranges(ranges: dict[str, tuple[int, int]], size: int) -> None:
    """Check that every byte belongs to exactly one array: none is read twice, and nothing is hidden in between."""
    at = 0
    for name, (begin, end) in sorted(ranges.items(), key=lambda item: item[1]):
        if begin != at:
            raise ValueError(f"'{name}' begins at byte {begin}, expected at {at}")
        at = end
    if at != size:
        raise ValueError(f"the arrays end at byte {at} of {size}")


def write_safetensors(path: str | Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> None:
    """Write arrays of any memory layout, row-major, sorted by item size and name.

    Raises:
        ValueError: an array is not numeric.
    """
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at, ordered = 0, []
    for name in sorted(arrays, key=lambda name: (-np.asarray(arrays[name]).dtype.itemsize, name)):  # for alignment
        array = np.asarray(arrays[name], order="C")
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype not in _NAMES:
            raise ValueError(f"'{name}' is an array of {array.dtype}, which safetensors files cannot contain")
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
        ordered.append(array)
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in ordered:
            file.write(array.reshape(-1).view(np.uint8).data if array.nbytes else b"")
