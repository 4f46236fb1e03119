"""The state of a loop besides the weights: steps, scores, running losses and times, and their form in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

JUMP_FACTOR = 10.0  # warn about a loss this many times its running mean and twice the initial loss; a single hard row stays below
INITIAL_STEPS = 20  # steps
_SUMS = ("steps", "rows", "tokens", "seconds")


@dataclass
class Best:
    """The best evaluation so far: step, scores, and the folder of its model with the sha256 of the folder's manifest."""

    step: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    model: list[str] | None = None


@dataclass
class RunningMetrics:
    """Sums over the steps since the last log line: loss terms by name, rows, tokens without padding, seconds."""

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


@dataclass
class LoopState:
    """The state of the loop after `step` updates.

    best: the best evaluation. kept: the best one whose model is on disk; may differ after resuming. last_scores: of the last evaluation.
    not_better: the number of evaluations since the best one.
    window: metrics since the last log line. first_loss: the mean of the first steps. seconds: training time, including data_seconds of
    waiting for batches.
    """

    step: int = 0
    best: Best = field(default_factory=Best)
    kept: Best = field(default_factory=Best)
    last_scores: dict[str, float] = field(default_factory=dict)
    not_better: int = 0
    window: RunningMetrics = field(default_factory=RunningMetrics)
    running_loss: float | None = None
    first_loss: float = 0.0
    seconds: float = 0.0
    data_seconds: float = 0.0

    def add(self, parts: Mapping[str, float], rows: int, tokens: int, seconds: float) -> float | None:
        """Add the last step; returns the running loss before it if its loss has jumped, else None."""
        self.seconds += seconds
        self.window.add(parts, rows, tokens, seconds)
        loss, before = parts["loss"], self.running_loss
        self.running_loss = loss if before is None else 0.98 * before + 0.02 * loss
        if self.step <= INITIAL_STEPS:
            self.first_loss += loss / INITIAL_STEPS
            return None
        return before if before is not None and loss > max(JUMP_FACTOR * before, 2 * self.first_loss) else None

    def forget_scores(self) -> None:
        """Discard the best scores."""
        self.best, self.kept, self.not_better = Best(), Best(), 0

    def as_json(self) -> dict[str, object]:
        """The entries of a checkpoint's state."""
        values = asdict(self)
        window = values.pop("window")
        return {**values, "window": window["parts"], **{f"window_{name}": window[name] for name in _SUMS}}

    @classmethod
    def of(cls, state: Mapping) -> LoopState:
        """Restore from a checkpoint's state; those of version 0.1 have no `kept`, `first_loss` and `not_better`."""
        plain = {name: state[name] for name in ("step", "last_scores", "running_loss", "seconds", "data_seconds")}
        return cls(
            **plain,
            best=Best(**state["best"]),
            kept=Best(**state.get("kept", state["best"])),
            window=RunningMetrics(dict(state["window"]), *(state[f"window_{name}"] for name in _SUMS)),
            first_loss=state.get("first_loss", state["running_loss"] or 0.0),
            not_better=state.get("not_better", 0),
        )
