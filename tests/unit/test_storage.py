"""Folders and files on disk are complete or absent, whatever kills their writer or fills the disk."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinybert import storage

ROOT = Path(__file__).resolve().parents[2]

# a writer that repeatedly replaces a folder; every file of a generation contains its number
FOLDER_WRITER = """
import sys
from pathlib import Path
from tinybert import storage
generation = int(sys.argv[2])
while True:
    with storage.new_folder(sys.argv[1], replace=True) as temporary:
        for name in ("a", "b", "c"):
            (temporary / name).write_text(f"{generation} " * 20000)
    generation += 1
    print(flush=True)
"""

# a writer of checkpoints like the engine
CHECKPOINT_WRITER = """
import sys
from pathlib import Path
import numpy as np
from tinybert.engine import checkpoint
step = int(sys.argv[2])
while True:
    step += 1
    arrays = {f"w{i}": np.full((64, 256), step, np.float32) for i in range(4)}
    checkpoint.write(Path(sys.argv[1]), step, checkpoint.Checkpoint(arrays, arrays, {"step": step}), keep=2)
    print(flush=True)
"""


def _run_and_kill(code: str, folder: Path, number: int, wait: float) -> None:
    command = [sys.executable, "-c", code, str(folder), str(number)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # it has written once; from now on it may be killed at any moment
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)


def _kill_folder_writer(folder: Path, times: int) -> int:
    """Kill the writer at random moments; returns the last generation found complete."""
    generation, luck = 0, random.Random(7)
    for _ in range(times):
        _run_and_kill(FOLDER_WRITER, folder, generation + 1, luck.uniform(0.0, 0.1))
        storage.recover(folder.parent)
        assert [entry.name for entry in folder.parent.iterdir() if entry.name.startswith(".")] == []
        if folder.exists():
            storage.verify(folder)
            found = {int((folder / name).read_text().split()[0]) for name in ("a", "b", "c")}
            assert len(found) == 1 and found.pop() >= generation
            generation = int((folder / "a").read_text().split()[0])
    return generation


def _kill_checkpoint_writer(folder: Path, times: int) -> int:
    """The same for checkpoints; returns the last step found by `newest`."""
    from tinybert.engine import checkpoint

    step, luck = 0, random.Random(8)
    for _ in range(times):
        _run_and_kill(CHECKPOINT_WRITER, folder, step, luck.uniform(0.0, 0.1))
        path = checkpoint.newest(folder)
        if path is not None:
            saved = checkpoint.read(path)
            assert saved.state["step"] >= step
            step = saved.state["step"]
            assert all((array == step).all() for array in saved.weights.values())
        elif step:
            pytest.fail("a checkpoint that had been found whole is gone")
    return step


def test_killed_writer_leaves_no_half_written_folder(tmp_path):
    assert _kill_folder_writer(tmp_path / "state", 8) > 8


def test_killed_writer_keeps_the_last_checkpoint(tmp_path):
    assert _kill_checkpoint_writer(tmp_path / "checkpoints", 6) > 6


@pytest.mark.long
def test_a_hundred_killed_writers_leave_only_complete_folders(tmp_path):
    assert _kill_folder_writer(tmp_path / "state", 70) > 70
    assert _kill_checkpoint_writer(tmp_path / "more" / "checkpoints", 50) > 50


def _limited(size: int, action) -> bool:
    """Run `action` in a child process that cannot write files beyond `size` bytes; returns whether it raised OSError."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            action()
        except OSError:
            os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize("size", [0, 1, 99, 100, 199, 299, 300])
def test_full_disk_keeps_the_existing_folder(tmp_path, size):
    target = tmp_path / "state"

    def write(text: str) -> None:
        with storage.new_folder(target, replace=True) as temporary:
            for i, name in enumerate(("a", "b", "c"), start=1):
                (temporary / name).write_text(text * 100 * i)

    write("1")
    assert _limited(size, lambda: write("2"))  # the manifest alone is longer than 300 bytes
    storage.verify(target)
    assert (target / "c").read_text() == "1" * 300
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_full_disk_keeps_the_existing_file(tmp_path):
    path = tmp_path / "run.json"
    storage.write_file(path, "old")
    assert _limited(1000, lambda: storage.write_file(path, "x" * 5000))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_full_file_system_keeps_the_existing_folder(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root and is not allowed here")
    try:
        target = disk / "state"
        with storage.new_folder(target) as temporary:
            (temporary / "a").write_bytes(b"1" * 100_000)
        with pytest.raises(OSError), storage.new_folder(target, replace=True) as temporary:
            (temporary / "a").write_bytes(b"2" * 200_000)
        storage.verify(target)
        assert (target / "a").read_bytes()[:1] == b"1"
        assert [entry.name for entry in disk.iterdir()] == ["state"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_replacing_without_rename_exchange_keeps_one_whole_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_exchange", lambda first, second: False)
    target = tmp_path / "state"
    with storage.new_folder(target) as temporary:
        (temporary / "a").write_text("1")
    with storage.new_folder(target, replace=True) as temporary:
        (temporary / "a").write_text("2")
    assert (target / "a").read_text() == "2"
    os.rename(target, tmp_path / ".state.old")  # killed between the two renames
    assert storage.recover(tmp_path) == [".state.old"]
    storage.verify(target)


MANIFESTS = ["{", "[]", '{"files": []}', '{"files": {"a": {"sha256": ""}}}', '{"files": {"a": {"bytes": 10}}}']


@pytest.mark.parametrize("harm", ["cut", "flip", "delete", *MANIFESTS, pytest.param("[" * 10**5, id="deep")])
def test_damaged_folder_is_detected(tmp_path, harm):
    target = tmp_path / "state"
    with storage.new_folder(target) as temporary:
        (temporary / "a").write_bytes(b"0123456789")
    storage.verify(target)
    assert storage.is_complete(target)
    if harm == "cut":
        (target / "a").write_bytes(b"01234")
    elif harm == "flip":
        (target / "a").write_bytes(b"0123456780")
    elif harm == "delete":
        (target / "a").unlink()
    else:
        (target / "manifest.json").write_text(harm)
    with pytest.raises(storage.DamagedError, match="state"):
        storage.verify(target)
    assert storage.is_complete(target) == (harm == "flip")  # the fast check does not hash


def test_recovery_keeps_what_a_running_process_writes(tmp_path):
    with storage.new_folder(tmp_path / "state") as temporary:
        (temporary / "a").write_text("1")
        assert storage.recover(tmp_path) == []
        assert (temporary / "a").exists()
    storage.verify(tmp_path / "state")


def test_existing_folder_is_not_overwritten_by_default(tmp_path):
    with storage.new_folder(tmp_path / "state") as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(FileExistsError), storage.new_folder(tmp_path / "state"):
        pytest.fail("nothing may be written")
    assert (tmp_path / "state" / "a").read_text() == "1"


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "state").mkdir()
    with storage.new_folder(tmp_path / "state") as temporary:
        (temporary / "a").write_text("1")
    storage.verify(tmp_path / "state")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_only_one_process_holds_a_lock_at_a_time(tmp_path):
    code = "import sys, time; from tinybert import storage\nwith storage.lock(sys.argv[1]):\n time.sleep(0.3); print(time.time())"
    started = time.time()
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x")], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    ends = sorted(float(process.communicate()[0]) for process in processes)
    assert ends[1] - ends[0] >= 0.29 and ends[0] > started
