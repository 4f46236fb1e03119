"""A closed pipe, a lost terminal or a narrow encoding does not stop a run; an unusable path ends in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tinybert.cli import main as cli
from tinybert.data import places
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError

ROOT = Path(__file__).parents[3]
TALKING = """
import sys, time
from tinybert.cli.streams import resilient_streams
with resilient_streams():
    for step in range(2000):
        print("step", step, "\\u5b57", file=getattr(sys, sys.argv[1]), flush=step % 2)
open(sys.argv[2], "w").write("trained to the end")
"""
WAITING = """
import sys, time
from tinybert.cli.stopping import early
with early() as signals:
    signals.importing = False
    print("ready", flush=True)
    sys.stdin.readline()
print("trained to the end")
"""


def start(code: str, *words: object, **more) -> subprocess.Popen:
    """A program in a separate process."""
    command = [sys.executable, "-c", code, *map(str, words)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), **more.pop("env", {})}, **{**pipes, **more})


@pytest.mark.parametrize(("name", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
def test_closed_pipe_is_reported_once_and_the_run_continues(tmp_path, name, other):
    process = start(TALKING, name, tmp_path / "done")
    getattr(process, name).close()
    told = getattr(process, other).read()
    assert process.wait(60) == 0
    assert told == f"standard {'output' if name == 'stdout' else 'error'} is closed; the run continues without it\n"
    assert (tmp_path / "done").read_text() == "trained to the end"


def test_ascii_terminal_shows_escapes(tmp_path):
    process = start(TALKING, "stdout", tmp_path / "done", env={"PYTHONIOENCODING": "ascii"})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out.startswith("step 0 \\u5b57\n") and err == ""


def test_closed_standard_output_does_not_end_the_run(tmp_path):
    shell = f"\"{sys.executable}\" -c '{TALKING}' stdout {tmp_path / 'done'} >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0
    assert (tmp_path / "done").exists()


def test_hang_up_is_reported_once_and_the_run_continues():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a child started under nohup would ignore it
    try:
        process = start(WAITING)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert process.stdout.readline() == "ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
    out, err = process.communicate("\n", timeout=60)
    assert process.returncode == 0 and out == "trained to the end\n" and err.count("SIGHUP") == 1


@pytest.mark.parametrize("number", ["ENAMETOOLONG", "ENOTDIR", "EISDIR", "EEXIST", "EMFILE", "ENOSPC"])
def test_os_errors_end_in_one_line(capsys, number):
    def refused():
        raise OSError(getattr(__import__("errno"), number), "no", "/a/path")

    assert cli._guarded(refused) == 2
    assert "error: [Errno" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plots", "vdl", "vdl/finetune", "checkpoints", "checkpoints/finetune", "best_model_3", "final"])
def test_file_in_place_of_a_folder_is_refused_before_the_run(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} is a file, this run needs a folder there"):
        RunFolder(tmp_path, "finetune").check_existing_results(False, True, ("best_model_*", "final"))
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["run.json", "log.jsonl", "eval_results.json"])
def test_folder_in_place_of_a_file_is_refused_before_the_run(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"{name} is a folder, this run needs a file there"):
        RunFolder(tmp_path, "finetune").check_existing_results(False, True)


def test_missing_home_folder_is_reported_with_the_variables_to_set(monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    for variable in ("PPNLP_HOME", "TINYBERT_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(UserError, match="no home directory.*\n.*TINYBERT_CACHE"):
        places.cache_home()
