"""Processes started by `tinybert launch` end together, with the exit code of the recipe and a checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import tiny
from tinybert.cli import launching
from tinybert.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A long run in two processes; further arguments are appended."""
    root = tmp_path_factory.mktemp("launched")
    tiny.learnable_rows(root / "SST-2", {"train": 45, "dev": 23}, seed=5)
    tiny.model_folder(root / "teacher", labels=("0", "1"), num_hidden_layers=4)

    def words(output: Path, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "tinybert", "launch", "--processes", "2", "finetune", f"--model_name_or_path={root / 'teacher'}",
            "--task_name=SST-2", f"--data_dir={root / 'SST-2'}", f"--output_dir={output}", "--max_seq_length=16", "--batch_size=4",
            "--device=cpu", "--max_steps=100000", "--save_steps=100000", "--logging_steps=1", *more,
        ]  # fmt: skip

    return words


def start(words: list[str], cache: Path) -> subprocess.Popen:
    """The launcher with its own cache."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PADDLE_")}
    environment |= {"TINYBERT_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)


def ranks(launcher: subprocess.Popen) -> list[int]:
    """The process ids of its ranks, in order."""
    return [int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]


def until_it_trains(output: Path, launcher: subprocess.Popen) -> None:
    limit = time.monotonic() + 200
    while not ((output / "log.jsonl").exists() and (output / "log.jsonl").stat().st_size) and time.monotonic() < limit:
        assert launcher.poll() is None, launcher.stdout.read()
        time.sleep(0.1)


def test_launcher_returns_the_exit_code_of_the_recipe(line, tmp_path):
    launcher = start(line(tmp_path / "out", "--amp=O1", "--amp_dtype=bfloat16"), tmp_path)
    said = launcher.communicate(timeout=200)[0]
    assert launcher.returncode == 2 and "on the CPU" in said and not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("who", ["launcher", "rank 1"])
def test_signal_or_dead_rank_ends_all_processes_with_a_checkpoint(line, tmp_path, who):
    launcher = start(line(tmp_path / "out", "--checkpoint_steps=1"), tmp_path)
    until_it_trains(tmp_path / "out", launcher)
    processes = ranks(launcher)
    os.kill(launcher.pid if who == "launcher" else processes[1], signal.SIGTERM if who == "launcher" else signal.SIGKILL)
    said = launcher.communicate(timeout=100)[0]
    # the other rank may abort first, when its peer is gone
    assert launcher.returncode in ((143,) if who == "launcher" else (137, 134)), said
    assert not any(os.path.exists(f"/proc/{pid}") for pid in processes)
    assert list((tmp_path / "out/checkpoints/finetune").glob("step_*/state.json"))


@pytest.mark.parametrize(("words", "told"), [
    (["launch"], "launch needs a number of processes and a command"), (["launch", "--processes", "0", "demo"], "--processes got '0'"),
    (["launch", "--processes", "two", "demo"], "--processes got 'two'"), (["launch", "--processes", "2"], "usage: tinybert launch"),
    (["launch", "--processes", "2", "--stage"], "launch needs"), (["lunch"], "unknown command 'lunch'"),
])  # fmt: skip
def test_invalid_launch_is_refused(capsys, words, told):
    assert main(words) == 2 and told in capsys.readouterr().err


def test_launched_processes_get_paddles_environment_variables():
    first, second = launching._environments(2)
    assert (first["PADDLE_TRAINER_ID"], second["PADDLE_TRAINER_ID"]) == ("0", "1") and first["PADDLE_TRAINERS_NUM"] == "2"
    assert [first["PADDLE_CURRENT_ENDPOINT"], second["PADDLE_CURRENT_ENDPOINT"]] == first["PADDLE_TRAINER_ENDPOINTS"].split(",")
    assert "PADDLE_TRAINERS_NUM" not in launching._environments(1)[0] or "PADDLE_TRAINERS_NUM" in os.environ
