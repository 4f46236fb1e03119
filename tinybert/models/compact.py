"""A word embedding of which only the rows in use are trained.

Tokens that do not occur in the data never get a gradient. An optimizer that updates all of them would read and write most of a small
student's parameters for nothing, because the result is known in advance.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn

from tinybert.models.trace import base_of, look_up


class CompactVocabulary:
    """The word embedding inside `layer`, with its table `[V, D]` reduced to `[U, D]` during training.

    Token ids are unchanged and are mapped before the lookup. Saved files always contain the whole table: a checkpoint does not depend on
    this class.

    Args:
        layer: the trained layer; the student's word embedding in it is reduced immediately.
        student: the encoder in `layer`, with or without a head.
        used: ids, sorted, int64 `[U]`; any other id raises Paddle's error in the forward pass.
        left: maps a number of updates to the factor that they apply to a row without gradient.
    """

    def __init__(self, layer: nn.Layer, student: nn.Layer, used: np.ndarray, left: Callable[[int], float]) -> None:
        self.embedding = base_of(student).embeddings.word_embeddings
        whole = self.embedding.weight
        self.name = next(name for name, parameter in layer.named_parameters() if parameter is whole)
        self.used, self.left = used, left
        self._before, self._since = whole.numpy(), 0  # the whole table, and the number of updates at that time
        self._rest = np.setdiff1d(np.arange(len(self._before)), used)
        self._padding = self.embedding._padding_idx
        places = np.full(len(self._before), len(used))  # an out-of-range index for unused tokens
        places[used] = np.arange(len(used))
        self._places = paddle.to_tensor(places)
        self._cut(_parameter(self.embedding, self._before[used], whole))

    def row_of(self, word_piece: int) -> int:
        """The row of a used token in the trained table."""
        return int(self._places[word_piece])

    # === The model ===

    def _cut(self, weight: Tensor) -> None:
        self.embedding.weight = weight
        self.embedding._padding_idx = None if self._padding is None else self.row_of(self._padding)
        self._hook = self.embedding.register_forward_pre_hook(lambda _, given: (look_up(self._places, given[0]),))

    def restore(self, step: int) -> None:
        """Put the whole table into the model, as after `step` updates."""
        trained = self.embedding.weight
        self._hook.remove()
        self.embedding.weight = _parameter(self.embedding, self._whole(trained.numpy(), step), trained)
        self.embedding._padding_idx = self._padding

    def whole_for(self, save: Callable[[int], Path]) -> Callable[[int], Path]:
        """A wrapper of `save`, called with a number of updates while the model has its whole table; training then continues unchanged."""

        def saved(step: int) -> Path:
            trained = self.embedding.weight
            self.restore(step)
            try:
                return save(step)
            finally:
                self._cut(trained)

        return saved

    def _whole(self, rows: np.ndarray, step: int) -> np.ndarray:
        table = np.empty_like(self._before)
        table[self.used], table[self._rest] = rows, self._untouched(step)
        return table

    def _untouched(self, step: int) -> np.ndarray:
        return self._before[self._rest] * np.float32(self.left(step) / self.left(self._since))

    # === Checkpoints ===

    def to_checkpoint(self, arrays: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
        """Weights or optimizer states by name as without this class: the whole table, and 0 for rows without gradient."""
        found = dict(arrays)
        for name, array in arrays.items():
            if name == self.name:
                found[name] = self._whole(array, step)
            elif self._is_state(name, array, len(self.used)):
                found[name] = np.zeros(self._before.shape, array.dtype)
                found[name][self.used] = array
        return found

    def from_checkpoint(self, arrays: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
        """The inverse of `to_checkpoint`, also for runs without this class; a table of another shape is unchanged.

        Rows that differ from this run's decay, e.g. from an older version, are kept as they are.
        """
        found = dict(arrays)
        for name, array in arrays.items():
            if name == self.name and array.shape == self._before.shape:
                if (self._untouched(step) != array[self._rest]).any():
                    self._before, self._since = array, step
                found[name] = array[self.used]
            elif self._is_state(name, array, len(self._before)):
                found[name] = array[self.used]
        return found

    def _is_state(self, name: str, array: np.ndarray, rows: int) -> bool:
        return name.startswith(f"{self.name}|") and array.ndim == 2 and len(array) == rows


def _parameter(owner: nn.Layer, values: np.ndarray, like: Tensor) -> Tensor:
    """A new parameter of a layer with these values, frozen if `like` is."""
    parameter = owner.create_parameter(list(values.shape), default_initializer=nn.initializer.Constant())
    parameter.set_value(values)  # initializer.Assign takes 100 times as long, through a Python list
    parameter.stop_gradient = like.stop_gradient
    return parameter
