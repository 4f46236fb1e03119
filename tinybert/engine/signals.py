"""SIGTERM and SIGINT: the first asks the run to save and stop after its step, a second one stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


class StopRequest:
    """Whether a signal has asked the run to stop, and which."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def _receive(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        if self.signal is not None:
            os.write(sys.stderr.fileno(), f"\n{name} again: stopping at once; the last checkpoint stays.\n".encode())
            os._exit(128 + number)
        self.signal = number
        os.write(sys.stderr.fileno(), f"\n{name}: finishing this step, then saving. Once more to stop at once.\n".encode())


@contextlib.contextmanager
def graceful_shutdown() -> Iterator[StopRequest]:
    """Listen for SIGTERM and SIGINT while the block runs."""
    request = StopRequest()
    before = {number: signal.signal(number, request._receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
