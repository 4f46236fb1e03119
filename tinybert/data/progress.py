"""Progress of data processing: a bar on a terminal or in a notebook, a line every few seconds elsewhere."""

from __future__ import annotations

import datetime
import time

from tinybert.log import logger, progress_bar

SECONDS = 5


class TextProgress:
    """Progress through a total `size`, in bytes or other parts (0: unknown): count, speed and remaining time.

    start: what was done before, in the same unit for count and parts.
    """

    def __init__(self, title: str, size: int, unit: str, start: int = 0, parts: str = "B") -> None:
        self.title, self.size, self.unit, self.start, self.parts = title, size, unit, start, parts
        self.begun = self.shown = time.monotonic()
        self.bar = None

    def show(self, count: int, part: int) -> None:
        """Report `count` finished units, `part` of the total size."""
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(f"{count:,} {self.unit}", refresh=False)
            self.bar.update(part - self.bar.n)
            if self.size and part >= self.size:
                self.bar.close()
        if now - self.shown < SECONDS:
            return
        self.shown = now
        if self.bar is not None:
            return
        self.bar = progress_bar(self.size, self.title, self.parts, part)  # not needed for work of a few seconds
        if self.bar is None:
            spent = now - self.begun
            left = datetime.timedelta(seconds=int(spent * (self.size - part) / max(part - self.start, 1)))
            share, eta = (f" ({100 * part / self.size:.0f}%)", f", ETA {left}") if self.size else ("", "")
            logger.info(f"{self.title}: {count:,} {self.unit}{share}, {(count - self.start) / spent:,.0f} {self.unit}/s{eta}")
