"""Caches are treated as data: checked, downloaded once, never executed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.mirror import serving
from tinybert import storage
from tinybert.data.store import TokenStore
from tinybert.data.tasks import get_task

ROOT = Path(__file__).resolve().parents[3]


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", ["ids.npy", "labels.npy", "offsets.npy"])
def test_malicious_pickle_in_the_token_cache_is_not_executed(folder, word_pieces, name, tmp_path, monkeypatch):
    (folder / "train.tsv").write_text("sentence\tlabel\ngood film\t1\nbad film\t0\n")
    task, cache, mark = get_task("sst-2"), tmp_path / "cache", tmp_path / "executed"
    monkeypatch.setenv("TINYBERT_CACHE", str(cache))
    TokenStore.build_or_open(task, folder, "train", word_pieces, 8)
    (stored,) = (cache / "tokens").glob("[0-9a-f]*[0-9a-f]")
    np.save(stored / name, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    # an attacker would also adapt the manifest
    manifest = json.loads((stored / storage.MANIFEST).read_text())
    manifest["files"][name] = {"bytes": (stored / name).stat().st_size, "sha256": storage.sha256_of(stored / name)}
    (stored / storage.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(storage.DamagedError, match="plain arrays"):
        TokenStore.open(stored)
    rebuilt = TokenStore.build_or_open(task, folder, "train", word_pieces, 8)
    assert len(rebuilt) == 2 and not mark.exists()


def test_payload_runs_when_pickles_are_allowed(tmp_path):
    # the attack is real: with NumPy's own switch on, it runs
    np.save(tmp_path / "x.npy", np.array([Payload(tmp_path / "executed")], dtype=object), allow_pickle=True)
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert (tmp_path / "executed").exists()


FETCH = """
import sys
from pathlib import Path
from tinybert.data.download import fetch
fetch("https://example.invalid/big.bin", Path("target") / "big.bin", md5=sys.argv[1])
"""


def test_two_processes_download_a_file_once(tmp_path):
    content = os.urandom(1 << 20)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "big.bin").write_bytes(content)
    with serving(tmp_path / "site", delay=0.5) as (address, asked):  # long enough for the other process to arrive
        environment = {**os.environ, "TINYBERT_MIRROR": address, "no_proxy": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", FETCH, hashlib.md5(content).hexdigest()]
        processes = [subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
        for process in processes:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
    assert asked == ["/big.bin"]
    assert (tmp_path / "target" / "big.bin").read_bytes() == content


def _agreeing(folder: Path) -> None:
    """Adapt the manifest to the current files."""
    files = {p.name: {"bytes": p.stat().st_size, "sha256": storage.sha256_of(p)} for p in folder.iterdir() if p.name != storage.MANIFEST}
    (folder / storage.MANIFEST).write_text(json.dumps({"format": 1, "files": files}))


ARRAYS = {
    "ids.npy": [np.zeros((2, 3), int), np.zeros(3, float), np.array(["a"]), np.zeros(0, int)],
    "offsets.npy": [np.array([0, 99]), np.array([0, -1, 8]), np.array([5, 2, 8]), np.array([], int), np.array(3)],
    "first.npy": [np.zeros(7, int), np.zeros((2, 2), int)],
    "labels.npy": [np.zeros(99, int)],
}


@pytest.mark.parametrize(("name", "number"), [(name, i) for name, arrays in ARRAYS.items() for i in range(len(arrays))])
def test_inconsistent_store_arrays_are_detected_and_rebuilt(folder, word_pieces, tmp_path, monkeypatch, name, number):
    (folder / "train.tsv").write_text("sentence\tlabel\ngood film\t1\nbad film\t0\n")
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    TokenStore.build_or_open(get_task("sst-2"), folder, "train", word_pieces, 8)
    (stored,) = (tmp_path / "cache/tokens").glob("[0-9a-f]*[0-9a-f]")
    np.save(stored / name, ARRAYS[name][number])
    _agreeing(stored)
    with pytest.raises(storage.DamagedError):
        TokenStore.open(stored)
    assert len(TokenStore.build_or_open(get_task("sst-2"), folder, "train", word_pieces, 8)) == 2


def test_mutated_stores_are_read_or_reported_as_damaged(folder, word_pieces, tmp_path, monkeypatch):
    import random
    import shutil

    (folder / "train.tsv").write_text("sentence\tlabel\n" + "good film\t1\nbad film\t0\n" * 9)
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    TokenStore.build_or_open(get_task("sst-2"), folder, "train", word_pieces, 8)
    (stored,) = (tmp_path / "cache/tokens").glob("[0-9a-f]*[0-9a-f]")
    source, damaged = random.Random(3), 0
    for _ in range(300):
        copy = shutil.copytree(stored, tmp_path / "copy")
        path = source.choice(sorted(copy.iterdir()))
        content = bytearray(path.read_bytes())
        for _ in range(source.randint(1, 3)):
            at = source.randrange(len(content))
            content[at : at + source.randint(0, 4)] = source.randbytes(source.randint(0, 4))
        path.write_bytes(content)
        if path.name != storage.MANIFEST:
            _agreeing(copy)
        try:
            store = TokenStore.open(copy)
            assert sum(len(store.row(i)) for i in range(len(store))) == len(store.ids)
        except storage.DamagedError:
            damaged += 1
        shutil.rmtree(copy)
    assert 50 < damaged < 300
