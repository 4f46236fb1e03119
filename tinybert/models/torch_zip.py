"""Reads `pytorch_model.bin` as NumPy arrays, without PyTorch and without executing any code in the file.

Two formats of `torch.save` are supported. Since PyTorch 1.6 it is a zip archive: `<root>/data.pkl` describes the tensors, and
`<root>/data/<key>` contains the bytes of each storage. Before, it was five consecutive pickles (magic number, version, system,
description, keys), followed by the storages. The description is read by `safe_pickle`; a tensor is a view of a storage, given by
offset, shape and strides.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.errors import UserError
from tinybert.models.safe_pickle import Name, SafeUnpickler, UnsafePickleError, ordered
from tinybert.safetensors_file import bfloat16_to_float32

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),  # converted to float32 after reading
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_ORDERED = Name("collections", "OrderedDict")
_TENSOR = Name("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_NAMES = {_ORDERED, _TENSOR, _PARAMETER, *(Name("torch", kind) for kind in _STORAGES)}
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_CONVERT = (
    "If the file is trusted, load the model where PyTorch is installed and save its weights again:\n"
    "  from safetensors.torch import save_model; save_model(model, 'model.safetensors', metadata={'format': 'pt'})"
)
_DIMENSIONS = 32  # NumPy's limit
_ROOM = 1 << 20


@dataclass(frozen=True)
class _Storage:
    kind: str
    key: str
    count: int
    view: tuple[int, int] | None = None  # (offset, count) in the storage, in files older than PyTorch 0.4

    @property
    def dtype(self) -> np.dtype:
        return _STORAGES[self.kind]

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """Read a state dict written by `torch.save`, as arrays by name; bfloat16 is converted to float32.

    Tensors that share a storage also share memory here; all arrays are read-only.

    Raises:
        UserError: the file is truncated or damaged, contains something other than tensors by name, or would execute code; the message
        says how to convert it.
    """
    path = Path(path)
    with open(path, "rb") as file:
        start = file.read(262)
    try:
        if start[:4] == b"PK\x03\x04":
            content, storages = _read_archive(path)
        elif start[257:] == b"ustar":
            raise UnsafePickleError("it is a tar archive of PyTorch before 0.2")
        else:
            content, storages = _read_pickles(path)
        return _arrays(_by_name(content), storages, path.stat().st_size)
    except UnsafePickleError as error:
        raise UserError(
            f"{path} is refused: {error}. Only a dictionary of tensors, as written by torch.save(model.state_dict(), ...), can be "
            f"read without executing code.\n{_CONVERT}"
        ) from None
    except Exception as error:  # a damaged file can raise nearly anything, including MemoryError and OSError (an invalid seek)
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} cannot be read as PyTorch weights ({reason}): it is truncated or damaged. Download it again.") from None


# === The description ===


def _unpickler() -> SafeUnpickler:
    return SafeUnpickler(_NAMES, _call, _persistent)


def _call(function: Name, arguments: tuple) -> object:
    if function == _ORDERED:
        return ordered(arguments)
    if function == _PARAMETER:
        tensor = arguments[0]
    elif function == _TENSOR:
        storage, offset, shape, strides = arguments[:4]
        tensor = _Tensor(storage, offset, tuple(shape), tuple(strides))
    else:
        raise UnsafePickleError(f"it calls {function}")
    if not isinstance(tensor, _Tensor) or not isinstance(tensor.storage, _Storage):
        raise UnsafePickleError(f"it calls {function} on something other than a storage")
    return tensor


def _persistent(identity: object) -> _Storage:
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise UnsafePickleError("it refers to an external object that is not a storage")
    _, kind, key, _, count = identity[:5]
    if not isinstance(kind, Name) or kind.name not in _STORAGES:
        raise UnsafePickleError(f"it names a storage of type {kind if isinstance(kind, Name) else type(kind).__name__}")
    if not isinstance(key, str) or not _is_count(count):
        raise ValueError("a storage has no key or no size")
    view = identity[5] if len(identity) == 6 else None
    if view is not None:
        _, offset, length = view
        if not _is_count(offset) or not _is_count(length) or offset + length > count:
            raise ValueError(f"a view ends outside storage {key}")
        view = (offset, length)
    return _Storage(kind.name, key, count, view)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 56


def _by_name(content: object) -> dict[str, _Tensor]:
    if not isinstance(content, dict):
        raise UnsafePickleError(f"it contains a {type(content).__name__} instead of tensors by name")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise UnsafePickleError(f"its entry '{name}' is of type {type(value).__name__}, not a tensor")
    return content


# === The values ===


def _arrays(tensors: dict[str, _Tensor], storages: dict[str, bytes], size: int) -> dict[str, np.ndarray]:
    # tied weights occur twice in a file and stride 0 repeats a value, but not without bound
    total = sum(math.prod(tensor.shape) * tensor.storage.dtype.itemsize for tensor in tensors.values() if _check(tensor))
    if total > 4 * size + _ROOM:
        raise UnsafePickleError(f"its tensors would take {total} bytes, the file has {size}")
    return {name: _array(tensor, storages[tensor.storage.key], name) for name, tensor in tensors.items()}


def _check(tensor: _Tensor) -> bool:
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or len(shape) > _DIMENSIONS or not all(map(_is_count, (*shape, *strides, tensor.offset))):
        raise ValueError("a tensor has no valid shape, strides or offset")
    return True


def _array(tensor: _Tensor, data: bytes, name: str) -> np.ndarray:
    """The tensor as a read-only view of its storage; bfloat16 is copied."""
    storage = tensor.storage
    flat = np.frombuffer(data, storage.dtype)
    if storage.view is not None:
        flat = flat[storage.view[0] : sum(storage.view)]
    if math.prod(tensor.shape) == 0:
        array = np.zeros(tensor.shape, storage.dtype)
    else:
        last = tensor.offset + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True))
        if last >= len(flat):
            raise ValueError(f"'{name}' ends at number {last} of {len(flat)} in its storage")
        strides = [stride * flat.itemsize for stride in tensor.strides]
        array = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
    return bfloat16_to_float32(array) if storage.kind == "BFloat16Storage" else array


# === Files ===


def _read_archive(path: Path) -> tuple[object, dict[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = _members(archive, path.stat().st_size)
        descriptions = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(descriptions) != 1 or descriptions[0].removesuffix("data.pkl") + "constants.pkl" in members:
            raise UnsafePickleError("it is not an archive of tensors (but a TorchScript model or another kind of zip file)")
        root = descriptions[0].removesuffix("data.pkl")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder").strip() != b"little":
            raise UnsafePickleError("its numbers are big-endian")
        content = _unpickler().load(io.BytesIO(archive.read(descriptions[0])))
        storages = {}
        for tensor in _by_name(content).values():
            storage = tensor.storage
            found = members[f"{root}data/{storage.key}"].file_size
            if found != storage.bytes:
                raise ValueError(f"storage {storage.key} has {found} bytes, {storage.bytes} are declared")
            if storage.key not in storages:
                storages[storage.key] = archive.read(f"{root}data/{storage.key}")  # reading also verifies its checksum
        return content, storages


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name; PyTorch neither compresses nor repeats them, so none can be larger than the file."""
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.filename in members:
            raise UnsafePickleError(f"its member {entry.filename} occurs twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise UnsafePickleError(f"its member {entry.filename} is compressed, which PyTorch never does")
        members[entry.filename] = entry
    total = sum(entry.file_size for entry in members.values())
    if total > size:
        raise UnsafePickleError(f"its members would take {total} bytes, the file has {size}")
    return members


def _read_pickles(path: Path) -> tuple[object, dict[str, bytes]]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if _unpickler().load(stream) != _MAGIC or _unpickler().load(stream) != _VERSION:
            raise UnsafePickleError("it is a pickle, but not one written by torch.save")
        system = _unpickler().load(stream)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise UnsafePickleError("its numbers are big-endian")
        content = _unpickler().load(stream)
        known = {tensor.storage.key: tensor.storage for tensor in _by_name(content).values()}
        storages = {}
        for key in _unpickler().load(stream):
            storage = known[key]
            (count,) = struct.unpack("<q", stream.read(8))
            if count != storage.count:
                raise ValueError(f"storage {key} has {count} numbers, {storage.count} are declared")
            storages[key] = stream.read(storage.bytes)
            if len(storages[key]) != storage.bytes:
                raise ValueError(f"storage {key} has {len(storages[key])} of {storage.bytes} bytes")
        return content, storages
