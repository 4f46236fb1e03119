"""Reads weight files as NumPy arrays without executing any code in them.

`.pdparams` files are pickles. `array_pickle` parses them as plain data and builds the arrays itself, so malicious files are rejected
instead of executed. Safetensors files contain no code. `pytorch_model.bin` has its own reader, `torch_zip`.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np

from tinybert.data.folder_files import check_not_placeholder, names_in
from tinybert.errors import UserError
from tinybert.models.array_pickle import read_arrays
from tinybert.models.safe_pickle import UnsafePickleError
from tinybert.models.tensorflow_bundle import read_tensorflow
from tinybert.models.torch_zip import read_torch
from tinybert.safetensors_file import bfloat16_to_float32, read_safetensors

_NAME_TABLE = "StructuredToParameterName@@"
_SLICES = "UnpackBigParamInfor@@"  # Paddle's own spelling: the entries that are parts of an array larger than a gigabyte


def read_pdparams(path: str | Path) -> dict[str, np.ndarray]:
    """Read a `.pdparams` file of Paddle 2.x or 3.x as float or integer arrays by name.

    Raises:
        UserError: the file is truncated, contains something other than arrays, or would execute code.
    """
    try:
        with open(path, "rb") as file:
            content = read_arrays(file, Path(path).stat().st_size)
    except UnsafePickleError as error:
        raise UserError(
            f"{path} is refused: {error}, which weight files do not need and which could execute code.\n"
            "Expected a dictionary of arrays, as written by paddle.save(model.state_dict(), ...)."
        ) from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything, including MemoryError
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path} cannot be read as weights ({reason}): it is truncated or not a .pdparams file. Download it again."
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} contains a {type(content).__name__}; expected a dictionary of arrays by parameter name.")
    arrays = {}
    for name, value in _joined(content, path).items():
        if name == _NAME_TABLE:
            continue
        if not isinstance(value, np.ndarray):
            raise UserError(f"{path}: the entry '{name}' is a {type(value).__name__}; expected an array.")
        arrays[str(name)] = bfloat16_to_float32(value) if value.dtype == np.uint16 else value
    return arrays


def _joined(content: dict, path: str | Path) -> dict:
    """Join arrays that paddle.save split into `<name>@@.0`, `<name>@@.1`, ... because protocols 2 and 3 are limited to four gigabytes."""
    content = dict(content)
    try:
        for name, entry in content.pop(_SLICES, {}).items():
            pieces = [_piece(content, piece) for piece in entry["slices"]]
            content[name] = np.concatenate(pieces).reshape(entry["OriginShape"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: the pieces of a large array do not fit together ({reason}). Download the file again.") from None
    return content


def _piece(content: dict, name: object) -> np.ndarray:
    piece = content.pop(name) if isinstance(name, str) else name  # looking up a nested tuple may take extremely long
    if not isinstance(piece, np.ndarray):
        raise TypeError(f"a piece is a {type(piece).__name__}")
    return piece


def write_pdparams(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays in the format of `paddle.load` and PaddleNLP: a pickled dictionary of NumPy arrays."""
    with open(path, "wb") as file:
        pickle.dump({name: np.asarray(array, order="C") for name, array in arrays.items()}, file, protocol=4)


def read_weights(folder: str | Path) -> tuple[dict[str, np.ndarray], Path]:
    """Read the weights of a model folder, whichever file it has, see `read_file`.

    Returns the arrays by name and the file they came from.
    """
    path = weights_file(folder)
    return read_file(path), path


def read_file(path: Path) -> dict[str, np.ndarray]:
    """Read a weight file by its name; floating-point values are converted to float32 and must be finite.

    Raises:
        UserError: the file is a placeholder, unreadable, or has values that are NaN, infinite or too large for float32.
    """
    check_not_placeholder(path)
    return {name: _finite(name, array, path) for name, array in READERS.get(path.name, read_tensorflow)(path).items()}


def _finite(name: str, array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    check_values_finite(name, array, path)
    return array


def check_values_finite(name: str, array: np.ndarray, source: str | Path) -> None:
    """Reject an array with a NaN or infinite value.

    Raises:
        UserError: says how many, in which array of which file, and where the first one is.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(array.sum(dtype=np.float64)):  # eight times as fast as checking each value
            return
    bad = ~np.isfinite(array)
    if not bad.any():
        return
    first = np.unravel_index(int(bad.argmax()), bad.shape)
    raise UserError(
        f"{source}: '{name}' has {int(bad.sum())} of {bad.size} numbers that are NaN or infinite, the first at {[int(i) for i in first]}.\n"
        "The model was saved after training diverged, or the file is damaged: use an earlier checkpoint, or download it again."
    )


READERS = {"model_state.pdparams": read_pdparams, "model.safetensors": read_safetensors, "pytorch_model.bin": read_torch}

# unsupported weight files, and what to do with them
_OTHERS = {
    "*.safetensors.index.json": "weights in several files; load the model with its library and save it with max_shard_size='100GB'",
    "*.bin.index.json": "weights in several files; load the model with its library and save it with max_shard_size='100GB'",
    "*.pdparams.index.json": "weights in several files; load the model with its library and save it with max_shard_size='100GB'",
    "tf_model.h5": "TensorFlow weights of transformers; load it there with from_tf=True and save it with save_pretrained",
    "flax_model.msgpack": "Flax weights; load it in transformers with from_flax=True and save it with save_pretrained",
    "adapter_model.*": "an adapter (such as LoRA), not a model; merge it with merge_and_unload of peft and save the result",
    "*.onnx": "a program, not weights; use the folder it was exported from",
    "*.gguf": "weights of llama.cpp; use the folder it was converted from",
    "*.pdiparams": "weights of a program for serving; use the folder it was exported from",
}


def weights_files(folder: Path) -> list[Path]:
    """The readable weight files of a model folder, the preferred one first."""
    known = [folder / name for name in READERS if (folder / name).is_file()]
    return known + sorted(folder.glob("*.ckpt.index")) + sorted(folder.glob("*.ckpt-*.index"))


def weights_file(folder: str | Path) -> Path:
    """The weight file that is read from a model folder.

    Raises:
        UserError: there is none; what is there instead, and what to do with it.
    """
    folder = Path(folder)
    if files := weights_files(folder):
        return files[0]
    expected = " or ".join(READERS)
    known = [f"\n{path.name}: {what}." for pattern, what in _OTHERS.items() for path in sorted(folder.glob(pattern))[:1]]
    raise UserError(f"{folder} contains no supported weights: expected {expected}, found {names_in(folder)}.{''.join(known)}")
