"""SIGINT and SIGTERM outside of training: one line, exit code 130 or 143, and no half-written files. SIGHUP ends nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from tinybert.engine.signals import tell


class Stopped(KeyboardInterrupt):
    """A signal that came while nothing was being trained; no library takes it for an error of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Early:
    """What a signal does now: end the process while modules are imported, raise `Stopped` afterwards."""

    def __init__(self) -> None:
        self.importing = True

    def listen_again(self) -> None:
        """Take SIGTERM back from Paddle, once it is imported."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.receive)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def end_at_once(self, number: int) -> None:
        """What a second signal in training does: the process ends without cleaning up."""
        os._exit(128 + number)

    def receive(self, number: int, frame: object) -> None:
        """The handler."""
        if self.importing:  # an exception in the middle of an import surfaces as whatever the module makes of it
            tell(f"interrupted: {signal.Signals(number).name} before anything was read or written\n")
            os._exit(128 + number)
        raise Stopped(number)


def hang_up(number: int, frame: object) -> None:
    """The handler of a terminal that has gone: the run goes on."""
    signal.signal(number, signal.SIG_IGN)  # said once
    with contextlib.suppress(OSError):
        os.write(2, b"SIGHUP: the terminal has gone, the run goes on; SIGTERM ends it\n")


@contextlib.contextmanager
def early() -> Iterator[Early]:
    """Answer both signals while the block runs; a training loop inside has its own answer."""
    answer = Early()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may have handlers
        yield answer
        return
    before = {number: signal.signal(number, answer.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    # Paddle 3.3 puts a handler of its own on SIGTERM when it is imported: a signal meanwhile waits for `Early.listen_again`
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield answer
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for number, handler in before.items():
            signal.signal(number, handler)
