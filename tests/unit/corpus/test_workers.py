"""Worker processes leave signals to the main process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tinybert.corpus.workers import Workers
from tinybert.errors import UserError


def stopped(number: int) -> int:
    """Do what a late import of Paddle does to a handler, then send the signal that a terminal sends to every process."""
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, signal.SIG_DFL)
        os.kill(os.getpid(), sent)
    return number


def killed(number: int) -> int:
    """Do what the kernel does when memory is short."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def sleep_or_tell(path: Path) -> None:
    """Work for a minute before writing a file `slept`; write any other file immediately."""
    if path.name == "slept":
        time.sleep(60)
    path.write_text(str(os.getpid()))


def test_worker_killed_while_waiting_ends_the_pool_with_an_error(tmp_path):
    def items():
        yield from (tmp_path / "slept", tmp_path / "waiting")
        while not (tmp_path / "waiting").exists():
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(int((tmp_path / "waiting").read_text()), signal.SIGKILL)

    with Workers((sleep_or_tell,), 2) as workers, pytest.raises(UserError, match="lack of memory"):
        list(workers.ordered(sleep_or_tell, items()))
    assert not (tmp_path / "slept").exists()  # the other process is not waited for


def test_workers_that_imported_paddle_ignore_signals():
    with Workers((stopped,), 2) as workers:
        assert list(workers.ordered(stopped, range(5))) == list(range(5))
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}


def test_killed_worker_ends_the_pool_with_an_error():
    with Workers((killed,), 2) as workers, pytest.raises(UserError, match="lack of memory"):
        list(workers.ordered(killed, range(20)))
