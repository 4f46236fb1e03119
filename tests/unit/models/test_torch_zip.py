"""pytorch_model.bin: real files are read exactly, nothing is executed, damage and zip bombs are refused."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from tinybert.errors import UserError
from tinybert.models.torch_zip import read_torch

FIXTURES = Path(__file__).parent / "fixtures"
WHOLE = [("types", "zip"), ("types", "legacy"), ("module", "zip"), ("module", "legacy"), ("module", "protocol4")]
REFUSED = r"is refused: .*\. Only a dictionary of tensors(.|\n)*safetensors"
DAMAGED = "cannot be read as PyTorch weights .* truncated or damaged"


@pytest.mark.parametrize(("content", "kind"), WHOLE)
def test_torch_file_is_read_exactly(content, kind):
    found = read_torch(FIXTURES / f"torch_{content}_{kind}.bin")
    expected = np.load(FIXTURES / f"torch_{content}.npz")
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_arrays_of_a_shared_storage_are_read_only():
    found = read_torch(FIXTURES / "torch_types_zip.bin")
    with pytest.raises(ValueError, match="read-only"):
        found["rows_of_it"][0] = 1


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_truncated_torch_file_is_reported_as_damaged(tmp_path, kind):
    whole = (FIXTURES / f"torch_types_{kind}.bin").read_bytes()
    path = tmp_path / "pytorch_model.bin"
    for size in [*range(0, len(whole) - 1, 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=DAMAGED):
            read_torch(path)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_damaged_torch_file_raises_no_unexpected_error(tmp_path, kind):
    whole = (FIXTURES / f"torch_module_{kind}.bin").read_bytes()
    path, random, refused = tmp_path / "pytorch_model.bin", np.random.default_rng(3), 0
    positions = range(0, len(whole), 3)
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_torch(path)
        except UserError:
            refused += 1
    assert refused > len(positions) // (8 if kind == "zip" else 4)  # a third of a zip file is padding


def test_flipped_bit_in_a_zip_file_is_detected_by_its_crc(tmp_path):
    whole = (FIXTURES / "torch_module_zip.bin").read_bytes()
    weight = np.load(FIXTURES / "torch_module.npz")["0.weight"].tobytes()
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(whole.replace(weight, b"\x01" + weight[1:]))
    with pytest.raises(UserError, match="cannot be read as .*CRC"):
        read_torch(path)


# === Malicious files ===


class Payload:
    """Calls `function(*arguments)` when unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_zip(path: Path, description: bytes, storages: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> None:
    """An archive in the format of torch.save."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", description)
        archive.writestr("archive/byteorder", "little")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)


def write_legacy(path: Path, description: bytes, storages: dict[str, bytes] | None = None) -> None:
    """Five pickles and the storages, as written by torch.save before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, system))
    keys = pickle.dumps(list(storages or {}), protocol=2)
    numbers = b"".join(struct.pack("<q", len(data) // 4) + data for data in (storages or {}).values())
    path.write_bytes(head + description + keys + numbers)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["alone", "beside weights", "as a key", "as the first pickle"])
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_malicious_torch_pickle_is_not_executed(tmp_path, kind, where, protocol):
    trap, path = tmp_path / "executed", tmp_path / "pytorch_model.bin"
    for payload in (Payload(open, str(trap), "w"), Payload(os.system, f"touch {trap}"), Payload(eval, f"open({str(trap)!r}, 'w')")):
        content = {"beside weights": OrderedDict(w=1, x=payload), "as a key": {payload: 1}}.get(where, payload)
        data = pickle.dumps(content, protocol=protocol)
        if where == "as the first pickle":
            path.write_bytes(data)
        else:
            (write_zip if kind == "zip" else write_legacy)(path, data)
        with pytest.raises(UserError, match=REFUSED):
            read_torch(path)
        assert not trap.exists()
        pickle.loads(data)  # the attack is real
        assert trap.exists()
        trap.unlink()


def test_pickled_module_is_refused_with_advice():
    with pytest.raises(UserError, match=r"it refers to torch.nn.modules.linear.Linear\. Only a dictionary of tensors(.|\n)*save_model"):
        read_torch(FIXTURES / "torch_whole_zip.bin")


def test_tar_file_of_old_torch_is_refused_with_advice(tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "old.bin", "w") as archive:
        archive.add(FIXTURES / "README.md", "storages")
    with pytest.raises(UserError, match=r"is a tar archive of PyTorch before 0.2(.|\n)*save_model"):
        read_torch(tmp_path / "old.bin")


@pytest.mark.parametrize(
    "description",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo index for which CPython 3.11's unpickler allocates memory
        b"\x80\x02}" + b"(" + b"K\x01K\x01\x86" + b"q\x01h\x01\x86" * 60 + b"K\x01u.",  # a nested tuple as a key: 2^60 hashes
        b"\x80\x04" + b"K\x01K\x01\x86" + b"q\x01h\x01\x86" * 60 + b"\x8c\x01a\x93.",  # a nested tuple as a name: 2^60 letters
        b"\x80\x02ccollections\nOrderedDict\n.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",
        b"\x80\x02]q\x00h\x00a.",
    ],
    ids=["memo", "hash", "name", "class", "storage class", "state", "persistent id", "loop"],
)
def test_pickles_that_exhaust_the_unpickler_are_refused(tmp_path, description):
    write_zip(tmp_path / "w.bin", description)
    with pytest.raises(UserError, match=r"is refused|cannot be read"):
        read_torch(tmp_path / "w.bin")


class _Pickler(pickle._Pickler):
    """Pickles `_Global` as a reference to a name, and `_Stored` by its persistent id."""

    def persistent_id(self, value):
        return value.identity if isinstance(value, _Stored) else None

    def save_global_name(self, value):
        self.write(f"c{value.module}\n{value.name}\n".encode())

    dispatch = pickle._Pickler.dispatch.copy()


class _Global:
    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Call:
    def __init__(self, function: _Global, *arguments) -> None:
        self.function, self.arguments = function, arguments


class _Stored:
    def __init__(self, count=6, key="0", kind="FloatStorage") -> None:
        self.identity = ("storage", _Global("torch", kind), key, "cpu", count)


def _save_call(pickler, value) -> None:
    pickler.save_global_name(value.function)
    pickler.save(value.arguments)
    pickler.write(b"R")


_Pickler.dispatch[_Global] = _Pickler.save_global_name
_Pickler.dispatch[_Call] = _save_call


def tensor(storage=None, offset=0, shape=(2, 3), strides=(3, 1)) -> _Call:
    return _Call(_Global("torch._utils", "_rebuild_tensor_v2"), storage or _Stored(), offset, shape, strides, False, None)


def described(content: object) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(content)
    return buffer.getvalue()


NUMBERS = np.arange(6, dtype="<f4")


@pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])
def test_hand_made_torch_file_is_read_exactly(tmp_path, write):
    write(tmp_path / "w.bin", described({"w": tensor(), "column": tensor(None, 1, (2,), (3,))}), {"0": NUMBERS.tobytes()})
    found = read_torch(tmp_path / "w.bin")
    np.testing.assert_array_equal(found["w"], NUMBERS.reshape(2, 3))
    np.testing.assert_array_equal(found["column"], [1, 4])


@pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "entry",
    [
        tensor(offset=1),
        tensor(offset=-1),
        tensor(shape=(2, 4)),
        tensor(strides=(4, 1)),
        tensor(strides=(-3, 1)),
        tensor(shape=(2,)),
        tensor(shape=(2.0, 3)),
        tensor(shape=(True, 3)),
        tensor(shape=(1,) * 40, strides=(1,) * 40),
        tensor(shape=(1 << 60, 0)),
        tensor(_Stored(7)),
        tensor(_Stored(5)),
        tensor(_Stored(5), shape=(1,), strides=(1,)),
        tensor(_Stored(-1)),
        tensor(_Stored(6, "1")),
        tensor(_Stored(6, "../../../etc/passwd")),
        tensor(_Stored(6, "0", "ComplexFloatStorage")),
        tensor(_Stored(6, "0", "DoubleStorage")),
        "text",
        [tensor()],
    ],
    ids=[
        "offset", "negative offset", "shape", "strides", "negative strides", "ranks", "fraction", "bool", "dimensions", "overflow", "more",
        "fewer", "fewer, unused", "negative size", "missing", "path", "unknown type", "other type", "no tensor", "list",
    ],
)  # fmt: skip
def test_tensor_outside_its_storage_is_refused(tmp_path, entry, write):
    write(tmp_path / "w.bin", described({"w": entry}), {"0": NUMBERS.tobytes()})
    with pytest.raises(UserError, match=r"is refused|cannot be read"):
        read_torch(tmp_path / "w.bin")


def test_storage_truncated_after_the_last_tensor_is_detected(tmp_path):
    write_legacy(tmp_path / "w.bin", described({"w": tensor(shape=(1,), strides=(1,))}), {"0": NUMBERS.tobytes()})
    (tmp_path / "w.bin").write_bytes((tmp_path / "w.bin").read_bytes()[:-4])
    with pytest.raises(UserError, match="storage 0 has 20 of 24 bytes"):
        read_torch(tmp_path / "w.bin")


@pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "content",
    [
        {"w": tensor(shape=(1 << 20, 1 << 20), strides=(0, 0))},
        {f"w{i}": tensor(shape=(1 << 12,), strides=(0,)) for i in range(200)},
    ],
    ids=["one", "many"],
)
def test_repeated_numbers_that_would_fill_memory_are_refused(tmp_path, content, write):
    write(tmp_path / "w.bin", described(content), {"0": NUMBERS.tobytes()})
    with pytest.raises(UserError, match="its tensors would take .* bytes, the file has"):
        read_torch(tmp_path / "w.bin")


def test_zip_bomb_is_refused(tmp_path):
    path = tmp_path / "w.bin"
    zeros = {"0": bytes(50 << 20)}
    write_zip(path, described({"w": tensor(_Stored(50 << 18), shape=(1,), strides=(1,))}), zeros, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="is compressed, which PyTorch never does"):
        read_torch(path)


def test_overlapping_zip_members_are_refused(tmp_path):
    path = tmp_path / "w.bin"
    storages = {str(i): (bytes(4000) if i == 0 else b"") for i in range(20)}
    write_zip(path, described({str(i): tensor(_Stored(1000, str(i)), shape=(1000,), strides=(1,)) for i in range(20)}), storages)
    data = bytearray(path.read_bytes())
    entries = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    first = next(at for at in entries if data[at + 46 : at + 60] == b"archive/data/0")
    for at in entries:  # every directory entry of a storage now refers to the bytes of the first
        if data[at + 46 : at + 59] == b"archive/data/" and at != first:
            data[at + 16 : at + 28] = data[first + 16 : first + 28]
            data[at + 42 : at + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)
    with pytest.raises(UserError, match="its members would take .* bytes, the file has"):
        read_torch(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_zip_member_is_refused(tmp_path):
    path = tmp_path / "w.bin"
    write_zip(path, described({"w": tensor()}), {"0": NUMBERS.tobytes()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(24))
    with pytest.raises(UserError, match="occurs twice"):
        read_torch(path)


@pytest.mark.parametrize("name", ["archive/constants.pkl", "other/data.pkl"])
def test_zip_file_without_tensors_is_refused(tmp_path, name):
    path = tmp_path / "w.bin"
    write_zip(path, described({"w": tensor()}), {"0": NUMBERS.tobytes()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
    with pytest.raises(UserError, match="is not an archive of tensors"):
        read_torch(path)


def test_big_endian_storage_is_refused(tmp_path):
    path = tmp_path / "w.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", described({"w": tensor()}))
        archive.writestr("archive/byteorder", "big")
        archive.writestr("archive/data/0", NUMBERS.tobytes())
    with pytest.raises(UserError, match="big-endian"):
        read_torch(path)


def test_training_checkpoint_is_refused_naming_the_entry(tmp_path):
    write_zip(tmp_path / "w.bin", described({"epoch": 3, "state_dict": {"w": tensor()}}), {"0": NUMBERS.tobytes()})
    with pytest.raises(UserError, match="its entry 'epoch' is of type int, not a tensor"):
        read_torch(tmp_path / "w.bin")
