"""SIGTERM and SIGINT: the first one requests a checkpoint and a stop after the step, a second one has its usual effect."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from tinybert.language import translate


class StopRequest:
    """Whether a signal has requested a stop, and which one."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.before: dict[int, object] = {}

    def _receive(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        if self.signal is None:
            self.signal = number
            write_stderr(translate(f"\n{name}: finishing this step and saving a checkpoint. Repeat to stop at once.\n"))
            return
        write_stderr(translate(f"\n{name} again: stopping at once; the last checkpoint is kept.\n"))
        before = self.before[number]
        ends = getattr(getattr(before, "__self__", None), "end_at_once", None)
        if ends is not None:  # the command line's handler: Paddle 3.3 turns an exception inside its backward pass into an OSError
            ends(number)
        elif callable(before):  # Python's own, which raises KeyboardInterrupt, or the user's
            before(number, frame)
        else:
            signal.signal(number, before)
            os.kill(os.getpid(), number)


def write_stderr(text: str) -> None:
    """Write to stderr from a signal handler, bypassing buffers and locks that the interrupted code may hold."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())


@contextlib.contextmanager
def graceful_shutdown() -> Iterator[StopRequest]:
    """Handle SIGTERM and SIGINT in this block; without effect outside the main thread, because only it can set handlers."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        request.before[number] = signal.signal(number, request._receive)
    try:
        yield request
    finally:
        for number, handler in request.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: a handler installed from C
