"""Two runs in one output folder at the same time."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tinybert.engine import run_lock
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from tinybert.engine.run_folder import RunFolder
run = RunFolder(sys.argv[1], sys.argv[2])
run.check_existing_results(resume=False, overwrite=False)
run.update_record(seed=1)
print("there", flush=True)
sys.stdin.readline()
run.release()
"""


@pytest.fixture
def writer(tmp_path):
    """Start another process that writes to a folder until its input ends."""
    started = []

    def start(stage: str) -> subprocess.Popen:
        words = [sys.executable, "-c", WRITER, str(tmp_path / "out"), stage]
        process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "there\n"
        return process

    yield start
    for process in started:
        process.communicate(timeout=20)


@pytest.mark.parametrize("stage", ["finetune", "prediction"])
def test_second_run_in_the_same_folder_is_refused(tmp_path, writer, stage):
    run = RunFolder(tmp_path / "out", "finetune")
    process = writer(stage)
    for resume, overwrite in ((False, False), (True, False), (False, True)):
        with pytest.raises(UserError, match=rf"is in use: process {process.pid} on .* is writing there"):
            run.check_existing_results(resume, overwrite)
    with pytest.raises(UserError, match="is in use"):
        run.update_record(seed=2)
    assert set(run.record()) == {stage} and run.record()[stage]["seed"] == 1


def test_results_written_while_a_run_was_loading_are_not_replaced(tmp_path, writer):
    run = RunFolder(tmp_path / "out", "finetune")
    run.check_existing_results(resume=False, overwrite=False)
    writer("finetune").communicate(timeout=20)
    with pytest.raises(UserError, match="another run wrote them after this one started"):
        run.update_record(seed=2)
    assert run.record()["finetune"]["seed"] == 1


def test_lock_of_a_killed_run_is_released(tmp_path, writer):
    process = writer("finetune")
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=20)
    assert (tmp_path / "out" / run_lock.NAME).is_file()
    run = RunFolder(tmp_path / "out", "finetune")
    run.check_existing_results(resume=True, overwrite=False)
    run.update_record(seed=2)
    run.release()
    assert not (tmp_path / "out" / run_lock.NAME).exists()


def test_recreated_folder_is_locked_again(tmp_path):
    run = RunFolder(tmp_path / "out", "finetune")
    run.update_record(seed=1)
    for file in (tmp_path / "out").iterdir():
        file.unlink()
    (tmp_path / "out").rmdir()
    run.update_record(seed=2)
    assert (tmp_path / "out" / run_lock.NAME).is_file()
    run.release()


@pytest.mark.parametrize("problem", [errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS])
def test_run_continues_on_file_systems_without_locks(tmp_path, monkeypatch, problem):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(problem, "no locks here")))
    run = RunFolder(tmp_path / "out", "finetune")
    run.update_record(seed=1)
    run.release()
    assert run.record()["finetune"]["seed"] == 1
