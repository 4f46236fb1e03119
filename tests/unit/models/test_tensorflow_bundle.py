"""A TensorFlow checkpoint in Google's layout is read exactly, and damage is reported. Files come from a separate writer."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import LABELS, SHAPE, WORDS, arrays_of, batch, classifier, logits_of
from tests.unit.models.hugging_face import hugging_face_arrays
from tinybert.errors import UserError
from tinybert.models.exporting import check_reading
from tinybert.models.loading import load_classifier, load_pretrained
from tinybert.models.tensorflow_bundle import read_tensorflow

_CODES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Prefix-compressed entries with one restart point; uncompressed, with a zero checksum."""
    out, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + struct.pack("<II", 0, 1) + b"\0" + bytes(4)


def write_bundle(prefix: Path, arrays: dict[str, np.ndarray], in_block: int = 7) -> None:
    data, entries = b"", [(b"", field(1, 1))]
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        shape = b"".join(field(2, field(1, length)) for length in array.shape)
        value = field(1, _CODES[array.dtype.name]) + field(2, shape) + field(4, len(data)) + field(5, array.nbytes)
        entries.append((name.encode(), value + varint(6 << 3 | 5) + bytes(4)))
        data += array.tobytes()
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    table, handles = b"", []
    for begin in range(0, len(entries), in_block):
        part = block(entries[begin : begin + in_block])
        handles.append((entries[min(begin + in_block, len(entries)) - 1][0] + b"~", varint(len(table)) + varint(len(part) - 5)))
        table += part
    metadata, index = block([]), block(handles)
    footer = varint(len(table)) + varint(len(metadata) - 5) + varint(len(table) + len(metadata)) + varint(len(index) - 5)
    table += metadata + index + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    Path(f"{prefix}.index").write_bytes(table)


def google_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of a classifier with the names of Google's code, kernels [in, out]."""
    made = {"global_step": np.array(7, "int64"), "cls/seq_relationship/output_bias": np.zeros(2, "float32")}
    for name, array in hugging_face_arrays(arrays).items():
        new = name.replace("encoder.layer.", "encoder/layer_").replace(".", "/")
        if "LayerNorm" in new:
            new = new.replace("/weight", "/gamma").replace("/bias", "/beta")
        elif "classifier" in new:
            new = {"classifier/weight": "output_weights", "classifier/bias": "output_bias"}[new]
        elif "embeddings" in new:
            new = new.removesuffix("/weight")
        elif new.endswith("/weight"):
            new, array = re.sub("weight$", "kernel", new), array.T
        made[new] = array
        made[f"{new}/adam_m"] = np.zeros_like(array)
    return made


@pytest.fixture
def google(tmp_path) -> Path:
    write_bundle(tmp_path / "bert_model.ckpt", google_arrays(arrays_of(classifier())))
    (tmp_path / "bert_config.json").write_text(json.dumps({**SHAPE, "directionality": "bidi", "pooler_type": "first_token_transform"}))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return tmp_path


def test_google_checkpoint_gives_the_same_logits(google):
    found = load_classifier(str(google), labels=LABELS, needs_head=True)
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(classifier(), batch()))
    assert found.report.source == str(google / "bert_model.ckpt.index")
    assert found.report.unused == ["cls/seq_relationship/output_bias"]  # reported; the optimizer's arrays do not belong to the model
    loaded, _ = load_pretrained(str(google))
    assert check_reading(loaded, google, "logits").startswith("verified")


@pytest.mark.parametrize("kind", ["float16", "float64", "int64"])
def test_numbers_of_every_type_are_read_exactly(tmp_path, kind):
    arrays = {"scalar": np.array(3, kind), "matrix": np.arange(6).reshape(2, 3).astype(kind), "none": np.zeros((0, 4), kind)}
    write_bundle(tmp_path / "model.ckpt-5", arrays, in_block=1)
    found = read_tensorflow(tmp_path / "model.ckpt-5.index")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_damaged_checkpoint_is_refused_with_a_message(google):
    index, data = google / "bert_model.ckpt.index", google / "bert_model.ckpt.data-00000-of-00001"
    whole, numbers = index.read_bytes(), data.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        broken = bytearray(whole)
        broken[int(random.integers(len(broken)))] ^= int(random.integers(1, 256))
        index.write_bytes(bytes(broken[: len(broken) - int(random.integers(2)) * int(random.integers(100))]))
        try:
            read_tensorflow(index)
        except UserError as problem:
            refused += 1
            assert "cannot be read as a TensorFlow checkpoint" in str(problem)
    assert refused > 30
    index.write_bytes(whole)
    data.write_bytes(numbers[:-200])
    with pytest.raises(UserError, match="missing or too short"):
        read_tensorflow(index)
