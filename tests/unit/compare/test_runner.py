"""Processes of runs end with the process that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]]).wait()
"""
CHILD = """
import os, time
from pathlib import Path
from tinybert.compare.child import end_with_parent

end_with_parent()
Path("pid.new").write_text(str(os.getpid()))
os.replace("pid.new", "pid")
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the process, which other systems do not offer")
def test_killed_parent_leaves_no_run(tmp_path):
    root = str(Path(__file__).resolve().parents[3])
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], cwd=tmp_path, env={**os.environ, "PYTHONPATH": root})
    until(lambda: (tmp_path / "pid").exists())
    number = int((tmp_path / "pid").read_text())
    assert alive(number)
    parent.kill()
    parent.wait()
    until(lambda: not alive(number))


def until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(number: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
