"""A line on stderr every few seconds while text becomes ids."""

from __future__ import annotations

import datetime
import sys
import time

SECONDS = 5


class TextProgress:
    """What is done of something whose `size` is known in bytes or other parts: count, rate and time to go."""

    def __init__(self, title: str, size: int, unit: str) -> None:
        self.title, self.size, self.unit = title, max(1, size), unit
        self.begun = self.shown = time.monotonic()

    def show(self, count: int, part: int) -> None:
        """`count` units are done, `part` of the whole size."""
        now = time.monotonic()
        if now - self.shown < SECONDS:
            return
        self.shown = now
        spent = now - self.begun
        left = datetime.timedelta(seconds=int(spent * (self.size - part) / max(part, 1)))
        done = f"{count} {self.unit} ({100 * part / self.size:.0f} %)"
        print(f"{self.title}: {done}, {count / spent:.0f} {self.unit}/s, ETA {left}", file=sys.stderr, flush=True)
