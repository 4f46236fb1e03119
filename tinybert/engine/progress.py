"""Progress of a running loop: a bar on a terminal or in a notebook, plain lines elsewhere, with speed and remaining time."""

from __future__ import annotations

import datetime
import time

from tinybert.log import in_notebook, logger, progress_bar


class Progress:
    """Steps done out of `total`, samples per second since the last report, and the remaining time."""

    def __init__(self, title: str, total: int, start: int, shown: bool) -> None:
        self.title, self.total, self.shown = title, total, shown
        self.started, self.first = time.monotonic(), start
        self.bar = progress_bar(total, title, "step", start) if shown else None
        self.parts, self.scores = "", ""

    def advance(self) -> None:
        """Count one step."""
        if self.bar is not None:
            self.bar.update(1)

    def report(self, step: int, values: dict[str, float], samples: float, tokens: float) -> None:
        """Show the loss terms after `step` and the speed in samples and in tokens (without padding) per second."""
        if not self.shown:
            return
        parts = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        rates = f"{samples:.1f} samples/s, {tokens:,.0f} tokens/s"
        if self.bar is not None:
            self.parts = f"{parts} {rates}"
            self.bar.set_postfix_str(f"{self.parts}{self.scores}")
        else:
            logger.info(f"{self.title} step {step}/{self.total} {parts} | {rates}, ETA {self.eta(step)}")

    def evaluated(self, step: int, scores: dict[str, float], improved: bool) -> None:
        """Show the scores after `step`: a line, or a part of a notebook's bar."""
        shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        if self.bar is not None and in_notebook():
            self.scores = f" | {shown}"
            self.bar.set_postfix_str(f"{self.parts}{self.scores}")
        elif self.shown:
            logger.info(f"  step {step}: {shown}{' (best so far)' if improved else ''}")

    def eta(self, step: int) -> str:
        """Remaining time as h:mm:ss, from the mean speed since the start of this process."""
        done = max(1, step - self.first)
        seconds = (time.monotonic() - self.started) / done * (self.total - step)
        return str(datetime.timedelta(seconds=int(seconds)))

    def close(self) -> None:
        """Close the bar and keep it visible."""
        if self.bar is not None:
            self.bar.close()
