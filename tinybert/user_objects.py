"""Objects that a Python caller passes to a run and that have no command-line option: callbacks and losses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class TrainingState:
    """The state of a run as seen by a callback, with which it can also stop the run.

    stage: `finetune`, `intermediate`, `prediction` or `general`. step: updates so far, out of `total_steps`. epoch: epochs so far, with a
    fraction. metrics: the last log line (mean loss terms since the previous line, `lr`, `samples_per_second`, ...). scores: of the
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
        """End the stage after this step: the model is evaluated, checkpoint and models are saved, and the run continues with the next
        stage."""
        self.stopping = True


class Callback:
    """Called on events in training; subclasses override the methods they need. An exception ends the run."""

    def on_start(self, state: TrainingState) -> None:
        """A stage starts or is resumed."""

    def on_log(self, state: TrainingState) -> None:
        """A line was logged: every `logging_steps`, and after the last step."""

    def on_evaluate(self, state: TrainingState) -> None:
        """The dev set was evaluated: every `save_steps`, and after the last step."""

    def on_end(self, state: TrainingState) -> None:
        """A stage has ended."""


@dataclass(frozen=True)
class CustomLoss:
    """Your own term in the sum that a stage trains.

    name: in the log. function: called with the traces of student and teacher and the batch, returns a scalar, the mean over `unit`; an
    `nn.Layer` is trained too. weight: its factor. student, teacher: the traces it needs (`tb.Needs`); None: the logits.
    stage: in which it is used. unit: `rows`, `tokens` or `token_pairs`, over which it is a mean, so that batches of different sizes
    are weighted correctly.
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
    """All objects passed to a run."""

    callbacks: Sequence[Callback] = ()
    losses: Sequence[CustomLoss] = ()


_current: ContextVar[UserObjects | None] = ContextVar("user_objects", default=None)


def user_objects() -> UserObjects:
    """The objects passed to the current run; empty outside of a run."""
    return _current.get() or UserObjects()


@contextlib.contextmanager
def use_objects(objects: UserObjects) -> Iterator[None]:
    """Use these objects for runs in this block."""
    token = _current.set(objects)
    try:
        yield
    finally:
        _current.reset(token)
