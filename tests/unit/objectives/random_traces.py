"""Traces of random numbers, shaped like those of two encoders."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs

LENGTHS = (7, 3, 5, 2)
STUDENT_WIDTH, TEACHER_WIDTH = 4, 6


def tensor(values, trained: bool = False) -> Tensor:
    """float32, with a gradient if `trained`."""
    return paddle.to_tensor(np.asarray(values, "float32"), stop_gradient=not trained)


def inputs(lengths: tuple[int, ...] = LENGTHS, width: int = 7, labels=None) -> Inputs:
    """Rows with these lengths, padded to `width`."""
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype("float32")
    zeros = paddle.zeros([len(lengths), width], dtype="int64")
    return Inputs(zeros, zeros, tensor(mask), None if labels is None else paddle.to_tensor(labels))


class Arrays:
    """The arrays of a trace, from which rows can be selected, with padding that contains noise as from an encoder."""

    def __init__(self, hidden: int, heads: int, entries: int, outputs: int, seed: int, width: int = 7, lengths=LENGTHS) -> None:
        random = np.random.default_rng(seed)
        rows = len(lengths)
        self.random = random
        self.mask = (np.arange(width) < np.array(lengths)[:, None]).astype("float32")
        self.hidden = [random.standard_normal((rows, width, hidden)).astype("float32") for _ in range(entries)]
        self.scores = [random.standard_normal((rows, heads, width, width)).astype("float32") for _ in range(entries - 1)]
        self.logits = random.standard_normal((rows, outputs)).astype("float32")

    def wider(self, by: int) -> Arrays:
        """The same rows with more padding."""

        def pad(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
            widths = [(0, by if axis in axes else 0) for axis in range(array.ndim)]
            noise = self.random.standard_normal(np.add(array.shape, [right for _, right in widths]))
            noise[tuple(slice(size) for size in array.shape)] = array
            return noise.astype("float32")

        other = object.__new__(Arrays)
        other.random, other.logits = self.random, self.logits
        other.mask = np.pad(self.mask, [(0, 0), (0, by)])
        other.hidden = [pad(array, (1,)) for array in self.hidden]
        other.scores = [pad(array, (2, 3)) for array in self.scores]
        return other

    def trace(self, rows: slice = slice(None), trained: bool = False) -> EncoderTrace:
        """The trace of some rows, with the mask in the scores."""
        masked = [array + (1 - self.mask[:, None, None, :]) * -1e4 for array in self.scores]
        return EncoderTrace(
            hidden={i: tensor(array[rows], trained) for i, array in enumerate(self.hidden)},
            scores={i: tensor(array[rows], trained) for i, array in enumerate(masked)},
            logits=tensor(self.logits[rows], trained),
        )


def student(seed: int = 1, heads: int = 2, outputs: int = 3) -> Arrays:
    """Two layers, four wide."""
    return Arrays(STUDENT_WIDTH, heads, 3, outputs, seed)


def teacher(seed: int = 2, heads: int = 2, outputs: int = 3) -> Arrays:
    """Four layers, six wide."""
    return Arrays(TEACHER_WIDTH, heads, 5, outputs, seed)


def projection(mode: str = "shared") -> Projection:
    """From the student's width to the teacher's."""
    paddle.seed(3)
    return Projection(mode, 2, STUDENT_WIDTH, TEACHER_WIDTH, initializer_range=0.5)
