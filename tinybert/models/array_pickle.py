"""Reads NumPy arrays from a pickle without executing it: requested calls become records, from which arrays are built here.

`safe_pickle` parses the stream, so nothing in it is imported or called. Supported is the output of `paddle.save` and `pickle.dump` for
numeric arrays with protocols 0 to 5; Python 2 and protocols below 3 store bytes as text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from tinybert.models.safe_pickle import Name, SafeUnpickler, UnsafePickleError, ordered

_CORES = ("numpy.core", "numpy._core")  # NumPy 1 and 2
_BUILTINS = ("builtins", "__builtin__")  # Python 3 and 2
_NDARRAY, _DTYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
_RECONSTRUCT = {Name(f"{core}.multiarray", "_reconstruct") for core in _CORES}
_SCALAR = {Name(f"{core}.multiarray", "scalar") for core in _CORES}
_FROMBUFFER = {Name(f"{core}.numeric", "_frombuffer") for core in _CORES}  # protocol 5
_TUPLE = {Name(module, "tuple") for module in _BUILTINS}  # a tensor outside a state dict
_BYTES = {Name(module, "bytes") for module in _BUILTINS}  # an empty array with protocols below 3
_ENCODE = Name("_codecs", "encode")  # bytes with protocols below 3
_ORDERED = Name("collections", "OrderedDict")
_NAMES = {_NDARRAY, _DTYPE, _ENCODE, _ORDERED, *_RECONSTRUCT, *_SCALAR, *_FROMBUFFER, *_TUPLE, *_BYTES}
_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_BYTE_ORDERS = {"<", ">", "=", "|"}
_DIMENSIONS = 32  # NumPy's limit
_ROOM = 1 << 20


@dataclass(eq=False)
class _Type:
    code: object
    order: object = "="
    plain: bool = True  # no fields, no inner shape

    def dtype(self) -> np.dtype:
        known = isinstance(self.code, str) and isinstance(self.order, str) and self.code in _NUMBERS and self.order in _BYTE_ORDERS
        if not known or not self.plain:
            raise UnsafePickleError("it holds an array of something other than numbers")
        return np.dtype(self.order + self.code)


@dataclass(eq=False)
class _Array:
    kind: object = None
    shape: object = None
    fortran: bool = False
    data: object = None

    def bytes(self) -> int:
        """The size in bytes, after checking its description."""
        if not isinstance(self.kind, _Type) or not isinstance(self.shape, tuple) or len(self.shape) > _DIMENSIONS:
            raise ValueError("an array has no valid type or shape")
        if not all(isinstance(length, int) and 0 <= length < 1 << 56 for length in self.shape):
            raise ValueError("an array has no valid shape")
        return math.prod(self.shape) * self.kind.dtype().itemsize

    def array(self) -> np.ndarray:
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        if not isinstance(data, (bytes, bytearray)) or len(data) != self.bytes():
            raise ValueError(f"an array of {self.bytes()} bytes has {len(data) if isinstance(data, (bytes, bytearray)) else 'none'}")
        flat = np.frombuffer(data, self.kind.dtype()) if data else np.zeros(0, self.kind.dtype())
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


def read_arrays(stream: BinaryIO, size: int) -> object:
    """Read a pickle of `size` bytes; arrays in its dictionary are returned as NumPy arrays over the bytes of the stream.

    A pair that ends in an array, which is how Paddle pickles a tensor outside of a state dict, is returned as that array. Bytes of
    protocols
    below 3 remain text.

    Raises:
        UnsafePickleError: the stream contains more than numeric arrays.
        ValueError, IndexError, KeyError, TypeError: it is damaged.
    """
    content = SafeUnpickler(_NAMES, _call, build=_build).load(stream)
    if not isinstance(content, dict):
        return content
    for name, value in content.items():
        if isinstance(value, tuple) and len(value) == 2:
            content[name] = value[1]
    records = {name: value for name, value in content.items() if isinstance(value, _Array)}
    total = sum(record.bytes() for record in records.values())
    if total > 4 * size + _ROOM:  # arrays may have several names, but not without bound: some are widened later
        raise ValueError(f"its arrays would take {total} bytes, the file has {size}")
    for name in records:
        content[name] = content[name].array()  # one by one: each conversion releases the memory of the text
    return content


def _call(function: Name, arguments: tuple) -> object:
    if function == _ORDERED:
        return ordered(arguments)
    if function == _DTYPE:
        return _Type(arguments[0])
    if function in _RECONSTRUCT and arguments[0] == _NDARRAY:
        return _Array()  # `_build` adds the rest
    if function in _FROMBUFFER:
        data, kind, shape, order = arguments
        return _Array(kind, shape, order == "F", data)
    if function in _SCALAR:
        kind, data = arguments
        return _Array(kind, (), False, data)
    if function == _ENCODE and len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] == "latin1":
        return arguments[0]  # encoded when the array is built: a stream may request it repeatedly
    if function in _TUPLE and isinstance(arguments[0], tuple):
        return arguments[0]
    if function in _BYTES and not arguments:
        return b""
    raise UnsafePickleError(f"it calls {function} in a way that no array needs")


def _build(record: object, state: object) -> None:
    if isinstance(record, _Type) and isinstance(state, tuple) and len(state) >= 5:
        record.order, record.plain = state[1], all(part is None for part in state[2:5])
    elif isinstance(record, _Array) and isinstance(state, tuple) and len(state) in (4, 5):
        record.shape, record.kind, fortran, record.data = state[-4:]  # preceded by a version
        record.fortran = fortran is True or fortran == 1
    else:
        raise UnsafePickleError(f"it sets attributes of a {type(record).__name__}")
