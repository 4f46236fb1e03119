"""Library behaviour that once gave wrong numbers is not relied on."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tinybert.errors import UserError
from tinybert.safetensors_file import read_safetensors, write_safetensors

SOURCES = sorted((Path(__file__).parents[2] / "tinybert").rglob("*.py"))


def calls(name: str) -> list[tuple[Path, ast.Call]]:
    """All calls of a function or method with this name."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == name:
                found.append((path, node))
    return found


def test_no_cross_entropy_uses_ignore_index():
    # Paddle's mean divides by all rows if ignore_index is negative: rows without a label are therefore removed before
    found = calls("cross_entropy") + calls("CrossEntropyLoss")
    assert len(found) >= 2
    assert not [path.name for path, call in found if any(word.arg == "ignore_index" for word in call.keywords)]


def test_no_module_uses_the_safetensors_numpy_writer():
    writers = [path for path in SOURCES if "safetensors.numpy" in path.read_text(encoding="utf-8")]
    assert not writers  # version 0.8.0 ignores the strides of an array


def test_no_module_creates_parameters_with_the_assign_initializer():
    slow = [path for path in SOURCES if "initializer.Assign(" in path.read_text(encoding="utf-8")]
    assert not slow  # it makes a Python list of all numbers; set_value copies the array


def test_arrays_in_any_memory_order_are_written_in_row_order(tmp_path):
    whole = np.arange(24, dtype="float32").reshape(4, 6)
    arrays = {
        "transposed": whole.T,
        "every other": whole[::2, ::3],
        "backwards": whole[::-1],
        "fortran": np.asfortranarray(whole),
        "broadcast": np.broadcast_to(whole[0], (3, 6)),
        "big-endian": whole.astype(">f4"),
        "scalar": np.array(2, "int64"),
        "empty": np.zeros((0, 3), "float16"),
        "flags": whole > 3,
    }
    write_safetensors(tmp_path / "a.safetensors", arrays, {"format": "pt"})
    for found in (load_file(tmp_path / "a.safetensors"), read_safetensors(tmp_path / "a.safetensors")):
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert found[name].shape == array.shape
            np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize(
    "entry",
    [
        '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',
        '"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}',
        '"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}',
        '"a":{"dtype":"F32","shape":[true,2],"data_offsets":[0,8]}',
        '"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}',
        '"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}',
        '"a":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,8]}',
        '"a":' + "[" * 50_000,
    ],
    ids=["overlap", "hole", "negative", "boolean", "twice", "float8", "absurd", "deep"],
)
def test_safetensors_header_that_does_not_match_its_file_is_refused(tmp_path, entry):
    text = ("{" + entry + "}").encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        read_safetensors(tmp_path / "a.safetensors")
