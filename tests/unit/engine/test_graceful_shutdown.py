"""A run inside another process handles signals while it trains, and gives the handlers back; each test is a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from tinybert.engine.signals import graceful_shutdown

ROOT = Path(__file__).resolve().parents[3]


def run(code: str) -> list[str]:
    """The lines that a program prints: a signal that nothing handles would end this process and all its tests."""
    before = "import os, signal\nfrom tinybert.engine.signals import graceful_shutdown\n"
    done = subprocess.run([sys.executable, "-c", before + code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_signal_handlers_are_restored_after_a_run():
    code = """
signal.signal(signal.SIGTERM, lambda number, frame: print("own", number))
with graceful_shutdown() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    print("stop", stop.signal)
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert run(code) == ["stop 15", "own 15"]


def test_second_interrupt_raises_keyboard_interrupt():
    code = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a background job
try:
    with graceful_shutdown():
        os.kill(os.getpid(), signal.SIGINT)
        print("first")
        os.kill(os.getpid(), signal.SIGINT)
        print("second")
except KeyboardInterrupt:
    print("interrupted")
"""
    assert run(code) == ["first", "interrupted"]


def test_run_outside_the_main_thread_installs_no_handlers():
    found = []

    def work() -> None:
        with graceful_shutdown() as stop:
            found.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
