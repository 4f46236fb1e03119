"""The interface between recipes and the loop: settings, and hooks called between steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import paddle

from tinybert.data.batches import Batch

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class LoopSettings:
    """Number of steps, learning rate by step, and intervals for logging (steps), evaluation (steps, 0 = once per epoch) and saving.

    patience: stop after this many evaluations in a row without a better score; None: never.
    """

    total_steps: int
    rate: Callable[[int], float]
    seed: int = 42
    logging_steps: int = 100
    evaluate_every: int = 0
    checkpoint_steps: int | None = None
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2
    patience: int | None = None


class Stateful(Protocol):
    """Learned state besides the layer's parameters that is saved in checkpoints, such as layer weights or a pruning schedule."""

    def arrays(self) -> Arrays:
        """The state as arrays by name."""

    def load_arrays(self, arrays: Arrays) -> None:
        """Restore the result of `arrays`."""


@dataclass
class Callbacks:
    """The hooks that a recipe implements for the loop.

    forward: maps a micro-batch to loss terms including `loss` (scalar tensors, already multiplied by the batch's share). evaluate: maps the
    step to scores. metric_for_best_model: the score to compare, and `max` or `min`. save_best: called with the step when the score has
    strictly improved, returns the folder of the model. no_sync: the context for all but the last micro-batch of a step, in which data
    parallelism does not synchronise gradients. before_update: called when the gradients of a step are complete. after_step: called after
    the update. replace_optimizer: given the number of updates, returns a new optimizer if the layer's parameters have been replaced, else
    None. observe: arrays for the log, called for every log line. to_checkpoint, from_checkpoint: convert weights or optimizer states by
    name, given the number of updates, to their form in checkpoints and back. stateful: further state saved in checkpoints, by name.
    """

    forward: Callable[[Batch], dict[str, paddle.Tensor]]
    evaluate: Callable[[int], dict[str, float]]
    metric_for_best_model: tuple[str, str]
    save_best: Callable[[int], Path | None]
    no_sync: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    before_update: Callable[[], None] = lambda: None
    after_step: Callable[[], None] = lambda: None
    replace_optimizer: Callable[[int], paddle.optimizer.Optimizer | None] = lambda step: None
    observe: Callable[[], Arrays] = dict
    to_checkpoint: Callable[[Arrays, int], Arrays] = lambda arrays, step: arrays
    from_checkpoint: Callable[[Arrays, int], Arrays] = lambda arrays, step: arrays
    stateful: dict[str, Stateful] = field(default_factory=dict)
