"""How a process exits, alone and as one of several."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import atexit, sys, threading, time
from tinybert.cli.process_exit import exit_process

class TakenDown:
    def __del__(self):
        print("taken down")

kept = TakenDown()
atexit.register(print, "registered")
threading.Thread(target=lambda: (time.sleep(0.2), print("worked"))).start()
print("error: told", file=sys.stderr)
exit_process(3)
"""


def _run(processes: int, output: int = subprocess.PIPE) -> subprocess.CompletedProcess:
    environment = {"PYTHONPATH": str(ROOT), "PADDLE_TRAINERS_NUM": str(processes)}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60)


@pytest.mark.parametrize("processes", [1, 2])
def test_exit_code_and_last_output_are_kept(processes):
    done = _run(processes)
    assert done.returncode == 3
    assert done.stderr == "error: told\n"
    assert done.stdout.splitlines()[:2] == ["worked", "registered"]


def test_only_a_single_process_tears_down_its_interpreter():
    assert "taken down" in _run(1).stdout
    assert "taken down" not in _run(2).stdout


def test_unwritable_output_keeps_the_exit_code():
    with open("/dev/full", "w") as full:
        assert _run(2, full).returncode == 3
