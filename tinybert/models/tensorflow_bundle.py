"""Reads a TensorFlow checkpoint (`bert_model.ckpt.index` and `.data-...`) as NumPy arrays, without TensorFlow.

The index is a sorted LevelDB table: blocks of prefix-compressed keys, found through an index block given in the footer. A
value is a protocol buffer with type, shape, file, offset and size of a tensor.
Source: tensorflow/core/util/tensor_bundle and tensorflow/core/lib/io/table_format.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import numpy as np

from tinybert.errors import UserError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 14: "bfloat16", 19: "<f2"}
# Google's names inside `bert/`, with {i} for a layer, mapped as in transformers; kernels are [in, out] and are transposed
_NAMES = (
    (r"embeddings/(word|position|token_type)_embeddings", r"embeddings.\1_embeddings.weight"),
    (r"embeddings/LayerNorm/(gamma|beta)", r"embeddings.LayerNorm.\1"),
    (r"encoder/layer_(\d+)/attention/self/(query|key|value)/(kernel|bias)", r"encoder.layer.\1.attention.self.\2.\3"),
    (r"encoder/layer_(\d+)/attention/output/dense/(kernel|bias)", r"encoder.layer.\1.attention.output.dense.\2"),
    (r"encoder/layer_(\d+)/attention/output/LayerNorm/(gamma|beta)", r"encoder.layer.\1.attention.output.LayerNorm.\2"),
    (r"encoder/layer_(\d+)/(intermediate|output)/dense/(kernel|bias)", r"encoder.layer.\1.\2.dense.\3"),
    (r"encoder/layer_(\d+)/output/LayerNorm/(gamma|beta)", r"encoder.layer.\1.output.LayerNorm.\2"),
    (r"pooler/dense/(kernel|bias)", r"pooler.dense.\1"),
)
_HEADS = (
    (r"cls/predictions/transform/dense/(kernel|bias)", r"cls.predictions.transform.dense.\1"),
    (r"cls/predictions/transform/LayerNorm/(gamma|beta)", r"cls.predictions.transform.LayerNorm.\1"),
    (r"cls/predictions/output_bias", r"cls.predictions.bias"),
    (r"output_(weight|bia)s", r"classifier.\1"),  # run_classifier.py stores [labels, width], as PyTorch does
)
_OPTIMIZER = re.compile(r"(^|/)(adam_[mv]|AdamWeightDecayOptimizer.*|global_step|.*_power)(_\d+)?$")


def read_tensorflow(index: Path) -> dict[str, np.ndarray]:
    """Read a BERT checkpoint of TensorFlow 1 as arrays with transformers' names; optimizer states are skipped.

    Raises:
        UserError: the files are damaged, compressed or incomplete.
    """
    try:
        arrays = {}
        for name, value in _entries(index.read_bytes()):
            if name and not _OPTIMIZER.search(name):
                arrays[_renamed(name)] = _tensor(index, name, value)
    except (ValueError, IndexError, KeyError, struct.error, OverflowError, UnicodeDecodeError) as error:
        raise UserError(
            f"{index} cannot be read as a TensorFlow checkpoint ({error}): it is truncated or damaged. Download it again."
        ) from None
    return {name.replace(".kernel", ".weight"): array.T if name.endswith(".kernel") else array for name, array in arrays.items()}


def _renamed(name: str) -> str:
    for pattern, target in (*((f"bert/{ours}", f"bert.{theirs}") for ours, theirs in _NAMES), *_HEADS):
        if match := re.fullmatch(pattern, name):
            return match.expand(target).replace("classifier.bia", "classifier.bias")
    return name


def _entries(data: bytes):
    """The keys and values of a table, in order."""
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise ValueError("it does not end like a table")
    at = 0
    for _ in range(3):  # offset and size of the metadata block, offset of the index block
        index_at, at = _varint(data[-_FOOTER:], at)
    size, _ = _varint(data[-_FOOTER:], at)
    for _, handle in _block(data, index_at, size):
        begin, at = _varint(handle, 0)
        for key, value in _block(data, begin, _varint(handle, at)[0]):
            yield key.decode("utf-8"), value


def _block(data: bytes, begin: int, size: int):
    block = data[begin : begin + size]
    if len(block) != size or size < 4 or begin + size >= len(data):
        raise ValueError("a block ends after the end of the file")
    if data[begin + size] != 0:
        raise ValueError("a block is compressed")
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("an entry ends after its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has no end")


def _message(data: bytes) -> dict[int, list]:
    """The fields of a protocol buffer by number."""
    fields: dict[int, list] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in (2, 5):
            length, at = _varint(data, at) if kind == 2 else (4, at)
            value, at = data[at : at + length], at + length
        else:
            raise ValueError("a field of an unknown kind")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _tensor(index: Path, name: str, value: bytes) -> np.ndarray:
    entry = _message(value)
    if 7 in entry:
        raise ValueError(f"'{name}' is split into slices")
    shape = [_message(dim).get(1, [0])[0] for part in entry.get(2, []) for dim in _message(part).get(2, [])]
    shard, offset, size = (entry.get(field, [0])[0] for field in (3, 4, 5))
    kind = _TYPES[entry.get(1, [0])[0]]
    dtype = np.dtype("<u2" if kind == "bfloat16" else kind)
    needed = math.prod(shape) * dtype.itemsize
    if needed != size:
        raise ValueError(f"'{name}' has {size} bytes, but its shape requires {needed}")
    shards = sorted(index.parent.glob(f"{index.name.removesuffix('.index')}.data-*"))
    part = next((path for path in shards if re.search(rf"\.data-0*{shard}-of-\d+$", path.name)), None)
    if part is None or part.stat().st_size < offset + size:
        raise ValueError(f"'{name}' is in part {shard}, which is missing or too short")
    with open(part, "rb") as file:
        file.seek(offset)
        array = np.frombuffer(file.read(size), dtype).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "bfloat16" else array
