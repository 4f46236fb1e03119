"""Metrics since the last log line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class RunningMetrics:
    """Sums over steps: loss terms by name, rows, tokens without padding, seconds."""

    parts: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def add(self, parts: Mapping[str, float], rows: int, tokens: int, seconds: float) -> None:
        """Add one step."""
        for name, value in parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + value
        self.steps, self.rows, self.tokens = self.steps + 1, self.rows + rows, self.tokens + tokens
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """The mean of each term over the steps."""
        return {name: value / self.steps for name, value in self.parts.items()}

    def rates(self) -> tuple[float, float]:
        """Rows and tokens (without padding) per second."""
        seconds = max(self.seconds, 1e-9)
        return self.rows / seconds, self.tokens / seconds

    def state(self) -> dict[str, object]:
        """The entries for a checkpoint's state."""
        rest = {f"window_{name}": getattr(self, name) for name in ("steps", "rows", "tokens", "seconds")}
        return {"window": self.parts, **rest}

    @classmethod
    def of(cls, state: Mapping) -> RunningMetrics:
        """Restore from a checkpoint's state."""
        return cls(dict(state["window"]), *(state[f"window_{name}"] for name in ("steps", "rows", "tokens", "seconds")))
