"""Squared distances between all layers of two encoders, and the gradient of a flow between them.

On the CPU both are computed in chunks that fit into its cache, directly from the traces: padding is skipped and nothing else is
copied. On other devices, and with `TINYBERT_CPU_OPS=0`, Paddle's operations are applied to whole vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from tinybert import devices
from tinybert.models import cpu_ops

CHUNK = 1 << 15  # elements per layer that are compared at a time: all layers together fit into a CPU's cache
_TOO_CLOSE = 1e-9  # distances below this fraction of the squared norms are computed directly


class LayerDistances:
    """The distances between S layers of a student and N of its teacher, all `[B, T, D]` or all `[B, h, T, T]`.

    real: bool `[B, T]`, tokens to compare, for scores both queries and keys; None = all.

    Computed as |a|^2 + |b|^2 - 2 a.b in float64, after subtracting the teachers' mean from both, so that a common offset does not hide
    the differences; pairs for which this is still inaccurate are computed directly.
    """

    def __init__(self, students: Sequence[Tensor], teachers: Sequence[Tensor], real: np.ndarray | None, chunk: int = CHUNK) -> None:
        shape = students[0].shape
        self.students, self.teachers = ([each.astype("float32") for each in layers] for layers in (students, teachers))
        self.pairs = len(shape) == 4
        lengths = np.full(shape[0], shape[-2]) if real is None else real.sum(1)
        self.count = float((lengths.astype(np.float64) ** 2).sum() * shape[1] if self.pairs else lengths.sum() * float(shape[-1]))
        ends_in_padding = real is None or bool((real[:, 1:] <= real[:, :-1]).all())
        self.pieces: list[tuple] | None = None
        if ends_in_padding and all(cpu_ops.is_supported(each) for each in (*self.students, *self.teachers)):
            self.pieces = list(_pieces(shape, lengths.tolist(), chunk))
        else:
            self._flatten(real)
        self.chunk = chunk

    def _flatten(self, real: np.ndarray | None) -> None:
        """Replace the layers by vectors with 0 at excluded positions."""
        if real is not None:
            keep = paddle.to_tensor(real.astype("float32"))
            keep = (keep.unsqueeze([1, 3]) * keep.unsqueeze([1, 2])) if self.pairs else keep.unsqueeze(2)
            self.students, self.teachers = ([each * keep for each in layers] for layers in (self.students, self.teachers))
        self.students, self.teachers = ([each.reshape([-1]) for each in layers] for layers in (self.students, self.teachers))

    def means(self) -> np.ndarray:
        """The mean squared difference of each pair of layers, float64 `[S, N]`."""
        with paddle.no_grad(), devices.full_precision():
            distances, lengths = self._in_pieces() if self.pieces is not None else self._in_chunks()
            for i, j in zip(*np.nonzero(distances < _TOO_CLOSE * lengths), strict=True):
                distances[i, j] = self._direct(i, j)
        return distances / self.count

    def _in_pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """The distances, and the sums of squared norms that they were computed from."""
        arrays = [_array(each) for each in (*self.students, *self.teachers)]
        count = len(self.students)
        total, lengths = np.zeros((2, count, len(self.teachers)))
        buffer = np.empty((len(arrays), max((arrays[0][piece].size for piece in self.pieces), default=0)))
        for piece in self.pieces:
            shape = arrays[0][piece].shape
            values = buffer[:, : int(np.prod(shape))]
            for value, array in zip(values, arrays, strict=True):
                value.reshape(shape)[...] = array[piece]
            values -= values[count:].mean(0)
            squares = np.einsum("ij,ij->i", values, values)
            both = squares[:count, None] + squares[count:]
            total += both - 2.0 * (values[:count] @ values[count:].T)
            lengths += both
        return total, lengths

    def _in_chunks(self) -> tuple[np.ndarray, np.ndarray]:
        """Like `_in_pieces`, with Paddle's operations."""
        total: Tensor | float = 0.0
        lengths: Tensor | float = 0.0
        for begin in range(0, int(self.students[0].shape[0]), self.chunk):
            part = slice(begin, begin + self.chunk)
            a, b = (paddle.stack([x[part] for x in each]).astype("float64") for each in (self.students, self.teachers))
            centre = b.mean(0, keepdim=True)
            a, b = a - centre, b - centre
            both = (a * a).sum(1, keepdim=True) + (b * b).sum(1).unsqueeze(0)
            total = total + (both - 2.0 * paddle.matmul(a, b, transpose_y=True))
            lengths = lengths + both
        return total.numpy(), lengths.numpy()

    def _direct(self, i: int, j: int) -> float:
        a, b = self.students[i], self.teachers[j]
        if self.pieces is None:
            return float(((a.astype("float64") - b.astype("float64")) ** 2).sum())
        a, b = _array(a), _array(b)
        return float(sum((np.subtract(a[piece], b[piece], dtype="float64") ** 2).sum() for piece in self.pieces))

    def transported(self, flow: np.ndarray, value: float) -> Tensor:
        """sum_ij F_ij * mean_ij for a fixed flow `[S, N]`: the given value, with its gradient for the student layers."""
        if paddle.is_grad_enabled() and not all(each.stop_gradient for each in self.students):
            return _Transport.apply(self, flow, value, *self.students)
        return paddle.to_tensor(value, dtype="float32")

    def pull(self, i: int, row: np.ndarray) -> Tensor:
        """2 / count * sum_j F_ij (a_i - b_j), the gradient of student layer i.

        At most S + N - 1 entries of an optimal flow are nonzero, so this reads far fewer than S x N layers.
        """
        scales = {int(j): np.float32(2.0 * row[j] / self.count) for j in np.nonzero(row)[0]}
        a = self.students[i]
        if self.pieces is not None:
            return paddle.to_tensor(_pull_in_pieces(_array(a), {j: (_array(self.teachers[j]), s) for j, s in scales.items()}, self.pieces))
        result = paddle.zeros_like(a)
        for j, scale in scales.items():
            result = result.add_((a - self.teachers[j]).scale_(float(scale)))
        return result


def _array(tensor: Tensor) -> np.ndarray:
    """A CPU tensor as an array that shares its memory; a copy with Paddle 2.6, whose tensors have no `__dlpack__`."""
    return np.from_dlpack(tensor.detach()) if hasattr(tensor, "__dlpack__") else tensor.numpy()


def _pieces(shape: Sequence[int], lengths: list[int], chunk: int) -> Iterator[tuple]:
    """Slices of the part without padding of `[B, T, D]` or `[B, h, T, T]`, one row and about `chunk` elements each."""
    for row, length in enumerate(lengths):
        width = length if len(shape) == 4 else shape[-1]
        run = max(1, chunk // max(1, width * int(np.prod(shape[1:-2]))))
        for begin in range(0, length, run):
            yield row, ..., slice(begin, min(begin + run, length)), slice(width)


def _pull_in_pieces(a: np.ndarray, teachers: dict[int, tuple[np.ndarray, np.float32]], pieces: list[tuple]) -> np.ndarray:
    result = np.zeros(a.shape, np.float32)
    for piece in pieces:
        mine = np.ascontiguousarray(a[piece])
        total = np.zeros_like(mine)
        for b, scale in teachers.values():
            difference = mine - b[piece]
            difference *= scale
            total += difference
        result[piece] = total
    return result


class _Transport(PyLayer):
    """A known value with its gradient, computed in the forward pass so that the teacher's layers need not be kept."""

    @staticmethod
    def forward(ctx, distances: LayerDistances, flow: np.ndarray, value: float, *students: Tensor) -> Tensor:
        ctx.trained = [not each.stop_gradient for each in students]
        pulls = (distances.pull(i, row) for i, (row, trained) in enumerate(zip(flow, ctx.trained, strict=True)) if trained)
        ctx.save_for_backward(*pulls)
        return paddle.to_tensor(value, dtype="float32")

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pulls = iter(ctx.saved_tensor())
        return tuple(paddle.scale(next(pulls), scale=gradient) if trained else None for trained in ctx.trained)
