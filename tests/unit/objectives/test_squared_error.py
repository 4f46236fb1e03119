"""The squared error as one operation: values, gradients, and inputs without gradients."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tinybert.objectives.squared_error import sum_of_squares


@pytest.mark.parametrize("masked", [False, True])
def test_sum_of_squares_and_gradient_equal_plain_operations(masked):
    paddle.seed(5)
    student, teacher = paddle.randn([3, 4, 5]), paddle.randn([3, 4, 5])
    student.stop_gradient = teacher.stop_gradient = False
    real = (paddle.rand([3, 4, 5]) < 0.7).astype("float32") if masked else None

    def gradient(loss) -> np.ndarray:
        student.clear_gradient(False)
        (3 * loss).backward()
        return student.grad.numpy()

    ours = sum_of_squares(student, teacher, real)
    difference = student - teacher.detach()
    plain = ((difference if real is None else difference * real) ** 2).sum()
    assert float(ours) == pytest.approx(float(plain), rel=1e-6)
    assert np.allclose(gradient(ours), gradient(plain), rtol=1e-6)
    assert teacher.grad is None


def test_small_differences_survive_half_precision():
    student = paddle.to_tensor([1000.0, 2.0]).astype("bfloat16")
    student.stop_gradient = False
    loss = sum_of_squares(student, paddle.to_tensor([1000.25, 2.0]))
    loss.backward()
    assert loss.dtype == paddle.float32 and student.grad.dtype == paddle.bfloat16
    assert float(loss) == pytest.approx(0.0625)
