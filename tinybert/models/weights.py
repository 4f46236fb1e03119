"""Reading weight files as NumPy arrays without executing anything that is inside them.

`.pdparams` files are pickles. `array_pickle` takes them as plain data and makes the arrays itself, so a hostile file is refused instead of
run. Safetensors files hold no code. `pytorch_model.bin` has a reader of its own, `torch_zip`.
"""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np

from tinybert.errors import UserError
from tinybert.models.array_pickle import read_arrays
from tinybert.models.bfloat16 import bfloat16_to_float32
from tinybert.models.safe_pickle import UnsafePickleError
from tinybert.models.torch_zip import read_torch

_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"  # Paddle's own spelling: which entries are pieces of an array of more than a gigabyte


def read_pdparams(path: str | Path) -> dict[str, np.ndarray]:
    """Read a `.pdparams` file of Paddle 2.x or 3.x as float or integer arrays by name.

    Raises:
        UserError: the file is truncated, holds something else than arrays, or would execute code.
    """
    try:
        with open(path, "rb") as file:
            content = read_arrays(file, Path(path).stat().st_size)
    except UnsafePickleError as error:
        raise UserError(
            f"{path} is refused: {error}, which a file of weights does not need and which could execute code.\n"
            "Expected a dictionary of arrays, as paddle.save(model.state_dict(), ...) writes it."
        ) from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything, MemoryError included
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} cannot be read as weights ({reason}): it is truncated or no .pdparams file. Fetch it again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; expected a dictionary of arrays by parameter name.")
    arrays = {}
    for name, value in _joined(content, path).items():
        if name == _NAME_TABLE:
            continue
        if not isinstance(value, np.ndarray):
            raise UserError(f"{path}: the entry '{name}' is a {type(value).__name__}; expected an array.")
        arrays[str(name)] = bfloat16_to_float32(value) if value.dtype == np.uint16 else value
    return arrays


def _joined(content: dict, path: str | Path) -> dict:
    """Join arrays that paddle.save cut into `<name>@@.0`, `<name>@@.1`, ... because protocols 2 and 3 end at four gigabytes."""
    content = dict(content)
    try:
        for name, entry in content.pop(_SLICES, {}).items():
            pieces = [_piece(content, piece) for piece in entry["slices"]]
            content[name] = np.concatenate(pieces).reshape(entry["OriginShape"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: the pieces of a large array do not fit together ({reason}). Fetch the file again.") from None
    return content


def _piece(content: dict, name: object) -> np.ndarray:
    piece = content.pop(name) if isinstance(name, str) else name  # looking up a nested tuple may take longer than anyone waits
    if not isinstance(piece, np.ndarray):
        raise TypeError(f"a piece is a {type(piece).__name__}")
    return piece


def write_pdparams(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays in the layout that `paddle.load` and PaddleNLP read: a pickled dictionary of NumPy arrays."""
    with open(path, "wb") as file:
        pickle.dump({name: np.asarray(array, order="C") for name, array in arrays.items()}, file, protocol=4)


_SAFETENSORS_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read a safetensors file of any framework; bfloat16 comes back as float32.

    The reader of the safetensors package cannot give bfloat16 to NumPy, so the eight-byte length, JSON header and flat buffer are
    read here.

    Raises:
        UserError: the file is truncated or its header does not describe it.
    """
    path = Path(path)
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (header_size,) = struct.unpack("<Q", file.read(8))
            if header_size > size:
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(header_size))
        start = 8 + header_size
        buffer = np.memmap(path, dtype=np.uint8, mode="r", offset=start) if size > start else np.zeros(0, np.uint8)
        arrays = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= len(buffer):
                raise ValueError(f"'{name}' ends at byte {end} of {len(buffer)}")
            kind = _SAFETENSORS_TYPES[entry["dtype"]]
            array = np.frombuffer(bytes(buffer[begin:end]), dtype=kind).reshape(entry["shape"])
            arrays[name] = bfloat16_to_float32(array) if entry["dtype"] == "BF16" else array
        return arrays
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): it is truncated or damaged. Fetch it again.") from None


def read_weights(folder: str | Path) -> tuple[dict[str, np.ndarray], Path]:
    """Read the weights of a model folder, whichever file it has; floating point comes back as float32.

    Returns the arrays by name and the file they came from.
    """
    path = weights_file(folder)
    arrays = _READERS[path.name](path)
    return {key: _to_float32(value) for key, value in arrays.items()}, path


_READERS = {"model_state.pdparams": read_pdparams, "model.safetensors": read_safetensors, "pytorch_model.bin": read_torch}


def has_weights(folder: Path) -> bool:
    """Whether a model folder has a file of weights."""
    return any((folder / name).is_file() for name in _READERS)


def weights_file(folder: str | Path) -> Path:
    """The file that the weights of a model folder are read from.

    Raises:
        UserError: there is none.
    """
    folder = Path(folder)
    for name in _READERS:
        if (folder / name).is_file():
            return folder / name
    expected = " or ".join(_READERS)
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"
    raise UserError(f"{folder} holds no weights that can be read: expected {expected}, found {found}.")


def _to_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" and array.dtype != np.float32 else array
