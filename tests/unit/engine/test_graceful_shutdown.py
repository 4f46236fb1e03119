"""A run inside another program handles signals while it trains and restores the handlers afterwards."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tinybert.engine.signals import graceful_shutdown


def test_signal_handlers_are_restored_after_a_run():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *call: heard.append(call[0]))
    try:
        with graceful_shutdown() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM and heard == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_second_interrupt_raises_keyboard_interrupt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), graceful_shutdown():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_run_outside_the_main_thread_installs_no_handlers():
    found = []

    def work() -> None:
        with graceful_shutdown() as stop:
            found.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
