"""SIGINT and SIGTERM outside of training: one line, exit code 130 or 143, and no partially written files. SIGHUP is ignored."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from tinybert.engine.signals import write_stderr


class Stopped(KeyboardInterrupt):
    """A signal received outside of training; a BaseException, so that no library handles it as an error."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Early:
    """The signal handler: exit during imports, raise `Stopped` afterwards."""

    def __init__(self) -> None:
        self.importing = True

    def end_at_once(self, number: int) -> None:
        """The handler for a second signal in training: exit without cleanup."""
        os._exit(128 + number)

    def receive(self, number: int, frame: object) -> None:
        """The handler."""
        if self.importing:  # an exception raised during an import may surface as any other error
            write_stderr(f"interrupted: {signal.Signals(number).name} before anything was read or written\n")
            os._exit(128 + number)
        raise Stopped(number)


def handle_sighup(number: int, frame: object) -> None:
    """The SIGHUP handler: report that the terminal is closed and continue."""
    signal.signal(number, signal.SIG_IGN)  # report only once
    with contextlib.suppress(OSError):
        os.write(2, b"SIGHUP: the terminal is closed; the run continues (stop it with SIGTERM)\n")


@contextlib.contextmanager
def early() -> Iterator[Early]:
    """Handle both signals in this block; a training loop inside installs its own handlers."""
    answer = Early()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield answer
        return
    before = {number: signal.signal(number, answer.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # already ignored, e.g. under nohup
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, handle_sighup)
    try:
        yield answer
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
