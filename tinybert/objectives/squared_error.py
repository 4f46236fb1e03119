"""The squared difference between student and teacher as a single operation."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from tinybert.models import cpu_ops


class _SumOfSquares(PyLayer):
    """Only keeps the difference, from which the gradient is computed."""

    @staticmethod
    def forward(ctx, student: Tensor, teacher: Tensor, real: Tensor | None) -> Tensor:
        difference = student - teacher
        if real is not None:
            difference = difference.multiply_(real)
        ctx.save_for_backward(difference)
        ctx.constants = 1 if real is None else 2
        return (difference * difference).sum()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (difference,) = ctx.saved_tensor()
        return paddle.scale(difference, scale=2 * gradient), *(None for _ in range(ctx.constants))


def mean_square(student: Tensor, teacher: Tensor, real: Tensor | None = None) -> Tensor:
    """The mean of (student - teacher)², a scalar; real: 1 for the values to average and 0 elsewhere, of a shape that broadcasts."""
    if real is None:
        return sum_of_squares(student, teacher) / student.size
    whole = cpu_ops.expand_contiguous(real, student.shape)
    return sum_of_squares(student, teacher, whole) / (real.sum() * (student.size // real.size))


def sum_of_squares(student: Tensor, teacher: Tensor, real: Tensor | None = None) -> Tensor:
    """The sum of (student - teacher)² in float32, a scalar; both of one shape.

    real: 1 for values to compare and 0 elsewhere, of the same shape, without gradient; None = all. The teacher gets no gradient.
    """
    # half precision would lose small differences
    return _SumOfSquares.apply(student.astype("float32"), teacher.astype("float32").detach(), real)
