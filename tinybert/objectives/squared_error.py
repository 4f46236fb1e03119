"""The squared difference between student and teacher as one operation: one pass forward, one back."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer


class _SumOfSquares(PyLayer):
    """Keeps the difference alone; the gradient is that, scaled."""

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


def sum_of_squares(student: Tensor, teacher: Tensor, real: Tensor | None = None) -> Tensor:
    """The sum of (student - teacher)² in float32, a scalar; both of one shape.

    real: 1 where something is compared and 0 where not, of the same shape, without gradient; None = everything. The teacher takes no
    gradient.
    """
    # half precision would lose small differences
    return _SumOfSquares.apply(student.astype("float32"), teacher.astype("float32").detach(), real)
