"""What a caller in Python hands to a run and no command line can name: callbacks and losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class TrainingState:
    """What a callback sees of a run, and how it stops it.

    stage: `finetune`, `intermediate`, `prediction` or `general`. step: updates made, of `total_steps`. epoch: passes over the rows, with a
    fraction. metrics: the last line of the log (mean loss parts since the line before, `lr`, `samples_per_second`, ...). scores: of the
    last evaluation. best: of the best one.
    """

    stage: str
    total_steps: int
    step: int = 0
    epoch: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    stopping: bool = False

    def stop(self) -> None:
        """End the stage after this step: it is scored, its checkpoint and its models are written, and the run goes on behind it."""
        self.stopping = True


class Callback:
    """Told of what happens in training; a subclass answers what it cares for. What it raises ends the run."""

    def on_start(self, state: TrainingState) -> None:
        """A stage begins, or is resumed."""

    def on_log(self, state: TrainingState) -> None:
        """A line was logged: every `logging_steps`, and after the last step."""

    def on_evaluate(self, state: TrainingState) -> None:
        """The held-out rows were scored: every `save_steps`, and after the last step."""

    def on_end(self, state: TrainingState) -> None:
        """A stage has ended."""


@dataclass(frozen=True)
class CustomLoss:
    """A term of your own in the sum that a stage trains.

    name: in the log. function: called with the traces of student and teacher and the batch, returns a scalar, the mean over `unit`; an
    `nn.Layer` is trained along. weight: its factor. student, teacher: which parts of the traces it reads (`tb.Needs`); None: the logits.
    stage: the one that it belongs to. unit: `rows`, `tokens` or `token_pairs`, what its mean is taken over, so that batches of any size
    count as they should.
    """

    name: str
    function: Callable
    weight: float = 1.0
    student: object | None = None
    teacher: object | None = None
    stage: str = "prediction"
    unit: str = "rows"


@dataclass(frozen=True)
class UserObjects:
    """All that was handed over."""

    callbacks: Sequence[Callback] = ()
    losses: Sequence[CustomLoss] = ()


_current: ContextVar[UserObjects | None] = ContextVar("user_objects", default=None)


def user_objects() -> UserObjects:
    """What was handed to the run that is being made; nothing outside of one."""
    return _current.get() or UserObjects()


@contextlib.contextmanager
def handed_over(objects: UserObjects) -> Iterator[None]:
    """Runs inside the block have these."""
    token = _current.set(objects)
    try:
        yield
    finally:
        _current.reset(token)
