"""Dropout, layer normalisation, biases and broadcasting for the CPU, where Paddle's kernels cost as much as the matrix products.

Mathematically identical, including gradients; only used for float32 tensors on the CPU. Paddle's dropout draws one Mersenne Twister
number per element; the gradients of its layer normalisation and biases, and its broadcasting, are computed element by element.
by element. `benchmark/speed/step.py --modes without` measures their effect. `TINYBERT_CPU_OPS=0` disables them.
"""

from __future__ import annotations

import os

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from tinybert import devices, runtime


def is_supported(x: Tensor) -> bool:
    """Whether these operations support the tensor."""
    if not paddle.in_dynamic_mode() or os.environ.get("TINYBERT_CPU_OPS", "1") == "0":
        return False
    return x.dtype == paddle.float32 and devices.is_on_cpu(x)


class _Dropout(PyLayer):
    """x * mask / (1 - p), with 16 random bits per element: p is rounded to a multiple of 2^-16, also in the scale."""

    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        threshold = round(p * 65536)
        count = int(np.prod(x.shape))
        bits = runtime.random_bits((count + 3) // 4).view(np.uint16)[:count]
        keep = (bits >= threshold).reshape(x.shape)
        ctx.scale = np.float32(65536 / (65536 - threshold))
        ctx.save_for_backward(paddle.to_tensor(keep))  # one byte per element until the backward pass
        return x * paddle.to_tensor(keep * ctx.scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (keep,) = ctx.saved_tensor()
        return gradient * keep.astype("float32").scale_(float(ctx.scale))


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Dropout with probability `p`, scaled in training; any shape.

    Source: Srivastava et al. 2014.
    """
    if not training or p == 0:
        return x
    if not is_supported(x) or not 0 < p < 1:
        return F.dropout(x, p, training=training, mode="upscale_in_train")
    return _Dropout.apply(x, p)


class _LayerNorm(PyLayer):
    """Normalisation over the last axis; sums over rows and columns are matrix products with a vector of ones."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.epsilon = epsilon
        return F.layer_norm(x, weight.shape, weight, bias, epsilon)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensor()
        width = int(weight.shape[0])
        rows, g = x.reshape([-1, width]), gradient.reshape([-1, width])
        mean = paddle.full([width, 1], 1.0 / width)
        centred = rows - paddle.matmul(rows, mean)
        inverse = paddle.rsqrt(paddle.matmul(centred * centred, mean).scale_(1.0, ctx.epsilon))
        normal = centred.multiply_(inverse)
        product = g * normal
        ones = paddle.ones([1, rows.shape[0]])
        to_weight, to_bias = paddle.matmul(ones, product), paddle.matmul(ones, g)
        column = (weight / width).unsqueeze(1)
        to_x = (g * weight).subtract_(paddle.matmul(g, column)).subtract_(normal.multiply_(paddle.matmul(product, column)))
        return to_x.multiply_(inverse).reshape(x.shape), to_weight.reshape([-1]), to_bias.reshape([-1])


def normalise(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer normalisation of `[..., D]` over its last axis, on any device.

    Paddle 3.3's gradient of `x` is wrong on the CPU if the norm's weight is frozen and `x` is not: a frozen weight is therefore replaced
    by a copy that is not frozen.

    Source: Ba et al. 2016.
    """
    if not paddle.is_grad_enabled() or x.stop_gradient:
        return norm(x)
    weight, bias = _unfrozen(norm.weight), _unfrozen(norm.bias)
    if is_supported(x) and len(weight.shape) == 1:
        return _LayerNorm.apply(x, weight, bias, norm._epsilon)
    return F.layer_norm(x, weight.shape, weight, bias, norm._epsilon)


def _unfrozen(parameter: Tensor) -> Tensor:
    """The parameter, or if it is frozen a leaf with the same values, whose gradient is ignored."""
    if not parameter.stop_gradient:
        return parameter
    twin = parameter.detach()
    twin.stop_gradient = False
    return twin


class _AddBias(PyLayer):
    """x + bias; the bias's gradient, a sum over rows, is a matrix product with a vector of ones."""

    @staticmethod
    def forward(ctx, x: Tensor, bias: Tensor) -> Tensor:
        return paddle.addmm(x.reshape([-1, x.shape[-1]]), *_as_product(bias, x)).reshape(x.shape)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows = gradient.reshape([-1, gradient.shape[-1]])
        return gradient, paddle.matmul(paddle.ones([1, rows.shape[0]]), rows).reshape([-1])


def _as_product(bias: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A column of ones and a row of biases, whose product is the bias for every row of `x`: exact, and faster than broadcasting."""
    return paddle.ones([int(np.prod(x.shape[:-1])), 1]), bias.unsqueeze(0)


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    """`[..., d]` through a linear layer with or without bias, `[..., D]`."""
    weight, bias = module.weight, module.bias
    plain = type(module) is nn.Linear and not module._forward_pre_hooks and not module._forward_post_hooks
    if bias is None or not plain or not is_supported(x):
        return module(x)
    if not paddle.is_grad_enabled() or (x.stop_gradient and weight.stop_gradient and bias.stop_gradient):
        product = paddle.matmul(x.reshape([-1, x.shape[-1]]), weight)
        return paddle.addmm_(product, *_as_product(bias, x)).reshape([*x.shape[:-1], -1])
    return module(x) if bias.stop_gradient else _AddBias.apply(paddle.matmul(x, weight), bias)


def expand_contiguous(x: Tensor, shape: list[int]) -> Tensor:
    """Expand to `shape` in memory on the CPU, where Paddle broadcasts element by element; elsewhere `x` is returned unchanged."""
    return x.expand(shape).contiguous() if is_supported(x) else x
