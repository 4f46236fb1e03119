"""Our CPU operations against Paddle's: equal values and gradients, and correct dropout."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from tests.tiny import all_needs, classifier
from tinybert import runtime
from tinybert.models import cpu_ops
from tinybert.models.trace import Inputs, Needs, trace


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_has_the_expected_rate_scale_and_gradient(p):
    runtime.seed_bits(3)
    x = paddle.ones([40, 50, 60])
    x.stop_gradient = False
    y = cpu_ops.dropout(x, p, training=True)
    y.sum().backward()
    kept = y.numpy() != 0
    assert abs(kept.mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / kept.size)
    assert np.allclose(y.numpy()[kept], 1 / (1 - p), rtol=1e-4)
    assert np.array_equal(x.grad.numpy(), y.numpy())  # for an upstream gradient of ones, the gradient is the scaled mask itself


def test_dropout_depends_on_seed_and_call_only():
    x = paddle.ones([1000])

    def drawn():
        return cpu_ops.dropout(x, 0.5, training=True).numpy()

    runtime.seed_step(42, "prediction", 7)
    first, second = drawn(), drawn()
    runtime.seed_step(42, "prediction", 7)
    again = drawn()
    runtime.seed_step(42, "prediction", 8)
    other = drawn()
    assert np.array_equal(first, again)
    assert 0.4 < (first != second).mean() < 0.6 and 0.4 < (first != other).mean() < 0.6


def test_dropout_is_the_identity_outside_training():
    x = paddle.randn([5, 6])
    assert cpu_ops.dropout(x, 0.3, training=False) is x
    assert cpu_ops.dropout(x, 0.0, training=True) is x
    assert not cpu_ops.dropout(x, 1.0, training=True).numpy().any()


def values_and_gradients(function, module: nn.Layer, x: paddle.Tensor, pull: paddle.Tensor) -> list[np.ndarray]:
    """The output of `function(module, x)`, and the gradients of x, weight and bias."""
    leaf = x.clone().detach()
    leaf.stop_gradient = False
    module.clear_gradients()
    y = function(module, leaf)
    y.backward(pull)
    return [each.numpy() for each in (y, leaf.grad, module.weight.grad, module.bias.grad)]


def test_layer_norm_matches_paddle_in_values_and_gradients():
    paddle.seed(1)
    norm = nn.LayerNorm(24, epsilon=1e-12)
    norm.weight.set_value(paddle.randn([24]))
    norm.bias.set_value(paddle.randn([24]))
    x, pull = 3 * paddle.randn([4, 7, 24]) + 2, paddle.randn([4, 7, 24])

    found = values_and_gradients(cpu_ops.normalise, norm, x, pull), values_and_gradients(nn.LayerNorm.__call__, norm, x, pull)
    for ours, theirs in zip(*found, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ours", ["0", "1"])
@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias")])
def test_frozen_layer_norm_passes_the_same_input_gradient(frozen, ours, monkeypatch):
    monkeypatch.setenv("TINYBERT_CPU_OPS", ours)
    paddle.seed(2)
    norm = nn.LayerNorm(8)
    norm.weight.set_value(paddle.randn([8]))
    x, pull = paddle.randn([3, 8]), paddle.randn([3, 8])

    def gradient() -> np.ndarray:
        leaf = x.clone().detach()
        leaf.stop_gradient = False
        norm.clear_gradients()
        cpu_ops.normalise(norm, leaf).backward(pull)
        return leaf.grad.numpy()

    whole = gradient()
    norm.clear_gradients()
    for name in frozen:
        getattr(norm, name).stop_gradient = True
    assert np.allclose(gradient(), whole, atol=1e-5)
    for name in frozen:
        assert not getattr(norm, name).grad.numpy().any()  # unchanged: zeros


@pytest.mark.parametrize("shape", [[5, 6], [4, 7, 6]])
def test_linear_matches_paddle_in_values_and_gradients(shape):
    paddle.seed(4)
    module = nn.Linear(6, 9)
    module.bias.set_value(paddle.randn([9]))
    x, pull = paddle.randn(shape), paddle.randn([*shape[:-1], 9])

    ours = values_and_gradients(cpu_ops.linear, module, x, pull)
    theirs = values_and_gradients(nn.Linear.__call__, module, x, pull)
    assert all(np.array_equal(mine, other) for mine, other in zip(ours[:3], theirs[:3], strict=True))
    assert np.allclose(ours[3], theirs[3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [[5, 6], [4, 7, 6], [1, 1, 6]])
def test_linear_without_gradient_matches_and_leaves_its_input_unchanged(shape):
    paddle.seed(5)
    module, x = nn.Linear(6, 9), paddle.randn(shape)
    module.bias.set_value(paddle.randn([9]))
    expected, before = module(x).numpy(), x.numpy()
    with paddle.no_grad():
        assert np.array_equal(cpu_ops.linear(module, x).numpy(), expected)
    for parameter in module.parameters():
        parameter.stop_gradient = True
    found = cpu_ops.linear(module, x)
    assert found.stop_gradient and np.array_equal(found.numpy(), expected) and np.array_equal(x.numpy(), before)


@pytest.mark.parametrize("frozen", [("bias",), ("weight",), ("weight", "bias")])
def test_frozen_linear_passes_gradients_and_gets_none(frozen):
    module = nn.Linear(6, 9)
    for name in frozen:
        getattr(module, name).stop_gradient = True
    x = paddle.randn([5, 6])
    x.stop_gradient = False
    cpu_ops.linear(module, x).sum().backward()
    assert np.allclose(x.grad.numpy(), np.tile(module.weight.numpy().sum(1), (5, 1)), atol=1e-5)
    assert {name for name, parameter in module.named_parameters() if parameter.grad is None} == set(frozen)


def test_subclass_of_linear_keeps_its_own_forward():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    module, x = Doubled(6, 9), paddle.randn([5, 6])
    assert np.array_equal(cpu_ops.linear(module, x).numpy(), module(x).numpy())


@pytest.fixture
def inputs() -> Inputs:
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.float32)
    ids = np.arange(10).reshape(2, 5) % 7 + 1
    return Inputs(paddle.to_tensor(ids), paddle.zeros([2, 5], dtype="int64"), paddle.to_tensor(mask))


def test_scores_do_not_depend_on_our_cpu_operations(inputs, monkeypatch):
    model = classifier()
    model.eval()
    needs = all_needs(3)
    ours = trace(model, inputs, needs)
    monkeypatch.setenv("TINYBERT_CPU_OPS", "0")
    theirs = trace(model, inputs, needs)
    for layer in theirs.scores:
        assert np.array_equal(ours.scores[layer].numpy(), theirs.scores[layer].numpy())
    assert np.array_equal(ours.logits.numpy(), theirs.logits.numpy())


def test_full_rows_give_the_same_scores_with_and_without_a_mask(inputs):
    model = classifier()
    model.eval()
    inputs.attention_mask = paddle.ones_like(inputs.attention_mask)
    needs = all_needs(3)
    masked = trace(model, inputs, needs)
    inputs.padded = False
    plain = trace(model, inputs, needs)
    assert all(np.array_equal(masked.scores[layer].numpy(), plain.scores[layer].numpy()) for layer in masked.scores)
    assert np.array_equal(masked.logits.numpy(), plain.logits.numpy())


def test_embeddings_get_dropout_exactly_once(inputs):
    model = classifier()
    wide = Inputs(inputs.input_ids.tile([400, 1]), inputs.token_type_ids.tile([400, 1]), inputs.attention_mask.tile([400, 1]))
    model.train()
    dropped = trace(model, wide, Needs(hidden=frozenset({0}))).hidden[0].numpy()
    model.eval()
    whole = trace(model, wide, Needs(hidden=frozenset({0}))).hidden[0].numpy()
    kept = dropped != 0
    assert abs(kept.mean() - 0.9) < 0.01
    assert np.allclose(dropped[kept], whole[kept] / 0.9, rtol=1e-3, atol=1e-6)


def test_float64_falls_back_to_paddle():
    x = paddle.ones([100], dtype="float64")
    assert not cpu_ops.is_supported(x)
    assert cpu_ops.dropout(x, 0.5, training=True).dtype == paddle.float64
    assert F.dropout(x, 0.5).dtype == paddle.float64
