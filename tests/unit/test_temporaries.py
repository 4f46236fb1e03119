"""Temporary files of killed writers are deleted; those of running writers and of others are kept."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinybert import storage, temporaries

ROOT = Path(__file__).resolve().parents[2]
RECOVER = "import sys; from tinybert import storage; print(storage.recover(sys.argv[1]))"


def recover_in_another_namespace(folder: Path) -> str:
    """The output of `storage.recover` in a process that cannot see our processes."""
    words = ["unshare", "--fork", "--pid", "--mount-proc", sys.executable, "-c", RECOVER, str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a process namespace of its own needs root and is not allowed here: {done.stderr[:80]}")
    return done.stdout.strip()


@pytest.mark.parametrize("locks", [True, False])
def test_recovery_keeps_files_of_a_writer_in_another_pid_namespace(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(temporaries.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(95, "not supported")))
    with storage.new_folder(tmp_path / "state") as temporary:
        (temporary / "a").write_text("1")
        assert recover_in_another_namespace(tmp_path) == "[]"
        assert (temporary / "a").exists()
    storage.verify(tmp_path / "state")


def dead_pid() -> int:
    """The process id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def left(folder: Path, name: str, place: str, pid: int, age: float = 0.0) -> Path:
    """A temporary folder as left by a killed writer."""
    path = folder / f".{name}.tmp-{place}-{pid}-0123abcd"
    path.mkdir()
    (path / "ids.npy").write_bytes(b"1" * 1000)
    for entry in (path / "ids.npy", path):
        os.utime(entry, (time.time() - age,) * 2)
    return path


def test_recovery_deletes_files_of_a_dead_local_process(tmp_path):
    path = left(tmp_path, "state", temporaries.place(), dead_pid())
    assert storage.recover(tmp_path) == [path.name] and not path.exists()


def test_temporaries_of_other_hosts_are_deleted_after_a_week_unchanged(tmp_path):
    young, old = (left(tmp_path, str(age), "00000000", dead_pid(), age) for age in (3600, 8 * 24 * 3600))
    assert storage.recover(tmp_path) == [old.name] and young.exists()
    (young / "more").write_text("still written")
    os.utime(young, (time.time() - 8 * 24 * 3600,) * 2)
    assert storage.recover(tmp_path) == [] and young.exists()  # something in it is new


def test_writing_a_name_again_deletes_its_stale_temporaries(tmp_path):
    mine, other = (left(tmp_path, name, temporaries.place(), dead_pid()) for name in ("state", "other"))
    with storage.new_folder(tmp_path / "state") as temporary:
        (temporary / "a").write_text("1")
        assert not mine.exists() and other.exists()
    file = tmp_path / f".rows.tsv.tmp-{temporaries.place()}-{dead_pid()}-0123abcd"
    file.write_text("half a row")
    with storage.new_file(tmp_path / "rows.tsv") as rows:
        rows.write(b"a row\n")
    assert not file.exists() and (tmp_path / "rows.tsv").read_bytes() == b"a row\n"


OTHERS = [
    ".bashrc.old",
    ".state.tmp-",
    ".x.tmp-mine",
    ".x.tmp-a-b-c",
    ".x.tmp-host-12-xyz",
    ".notes.tmp-a-0-0123abcd",
    "x.tmp-host-1-0123abcd",
]


@pytest.mark.parametrize("folder", [True, False])
def test_files_and_folders_of_others_are_kept(tmp_path, folder):
    for name in OTHERS:
        if folder:
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_text("mine")
        else:
            (tmp_path / name).write_text("mine")
    assert storage.recover(tmp_path) == []
    storage.remove_own(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(OTHERS)


def test_remove_own_deletes_only_folders_with_a_manifest(tmp_path):
    parts = tmp_path / "parts"
    for name in ("0", "deep/1"):
        with storage.new_folder(parts / name) as new:
            (new / "rows").write_text("a")
    (parts / "deep/notes.txt").write_text("mine")
    storage.remove_own(parts)
    assert [str(path.relative_to(parts)) for path in sorted(parts.rglob("*"))] == ["deep", "deep/notes.txt"]
    (parts / "deep/notes.txt").unlink()
    storage.remove_own(parts)
    assert not parts.exists()


def test_replacing_a_folder_keeps_files_added_by_others(tmp_path):
    model = tmp_path / "model"
    for text in ("1", "2"):
        with storage.new_folder(model, replace=True, keep_others=True) as new:
            (new / "weights").write_text(text)
            (new / f"only{text}").write_text(text)
        (model / "README").write_text("mine")
    assert sorted(path.name for path in model.iterdir()) == ["README", "manifest.json", "only2", "weights"]
    assert (model / "weights").read_text() == "2" and (model / "README").read_text() == "mine"
    storage.verify(model)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd"])
def test_manifest_listing_files_outside_the_folder_is_damaged(tmp_path, name):
    with storage.new_folder(tmp_path / "state") as new:
        (new / "a").write_text("1")
    (tmp_path / "state/manifest.json").write_text(f'{{"files": {{"{name}": {{"bytes": 1, "sha256": ""}}}}}}')
    with pytest.raises(storage.DamagedError, match="is outside the folder"):
        storage.verify(tmp_path / "state")


def test_file_system_without_locks_never_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(95, "Operation not supported")))
    with storage.lock(tmp_path / "x"), storage.lock(tmp_path / "x", wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_lock_held_by_another_process_raises_without_waiting(tmp_path):
    code = "import sys; from tinybert import storage\nwith storage.lock(sys.argv[1]):\n print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(BlockingIOError), storage.lock(tmp_path / "x", wait=False):
            pytest.fail("two hold it")
        process.communicate()
    with storage.lock(tmp_path / "x", wait=False):
        pass


@pytest.mark.parametrize("name", ["a" * 250, "\u5b57" * 80])
def test_names_of_maximum_length_are_written(tmp_path, name):
    for text in ("1", "2"):
        storage.write_file(tmp_path / name, text)
        with storage.new_file(tmp_path / name) as file:
            file.write(text.encode())
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "2"
