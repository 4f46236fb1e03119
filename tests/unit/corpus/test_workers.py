"""Worker processes leave signals to the first process."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tinybert.corpus.workers import Workers
from tinybert.errors import UserError


def stopped(number: int) -> int:
    """What Paddle does to a handler when it is imported late, and then the signal that a terminal sends to every process."""
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, signal.SIG_DFL)
        os.kill(os.getpid(), sent)
    return number


def killed(number: int) -> int:
    """What the kernel does when memory is short."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def test_a_signal_to_all_processes_ends_those_that_imported_paddle():
    with Workers((stopped,), 2) as workers:
        assert list(workers.ordered(stopped, range(5))) == list(range(5))
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}


def test_a_killed_process_leaves_the_others_waiting():
    with Workers((killed,), 2) as workers, pytest.raises(UserError, match="lack of memory"):
        list(workers.ordered(killed, range(20)))
