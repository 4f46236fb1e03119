"""Optimizers against NumPy, and their state across processes."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from tinybert.engine.optimizers import create_optimizer, decayed_names, load_optimizer_arrays, optimizer_arrays

SETTINGS = {"weight_decay": 0.1, "epsilon": 1e-6, "max_grad_norm": 1.0, "grad_clip": "tensor"}


class Net(nn.Layer):
    """A linear, a norm and a linear without gradient."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.dense, self.norm, self.unused = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(2, 2)
        random = np.random.default_rng(seed)
        for parameter in self.parameters():
            parameter.set_value(random.standard_normal(parameter.shape).astype("float32"))

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: parameter.numpy().copy() for name, parameter in self.named_parameters()}


def gradients(step: int, scale: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(100 + step)
    shapes = {"dense.weight": (3, 4), "dense.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)}
    return {name: (scale * random.standard_normal(shape)).astype("float32") for name, shape in shapes.items()}


def update(net: Net, optimizer, step: int, rate: float, scale: float = 1.0) -> None:
    given, parameters = gradients(step, scale), dict(net.named_parameters())
    loss = sum((parameters[name] * paddle.to_tensor(gradient)).sum() for name, gradient in given.items())
    loss.backward()
    optimizer.set_lr(rate)
    optimizer.step()
    optimizer.clear_grad()


def numpy_adam(
    start: dict, steps: int, scale: float, *, corrected: bool, clip: str, decay=0.1, epsilon=1e-6, max_norm=1.0, l2=False
) -> dict:
    weights = {name: array.astype("float64") for name, array in start.items()}
    first, second = ({name: np.zeros_like(array) for name, array in weights.items()} for _ in range(2))
    for step in range(steps):
        rate = 0.01 * (step + 1)
        given = {name: array.astype("float64") for name, array in gradients(step, scale).items()}
        whole = np.sqrt(sum((array**2).sum() for array in given.values()))
        for name, gradient in given.items():
            norm = {"tensor": np.sqrt((gradient**2).sum()), "global": whole, "off": 0.0}[clip]
            if norm > max_norm:
                gradient = gradient * max_norm / norm
            if l2:  # on all parameters
                gradient = gradient + decay * weights[name]
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            up, down = first[name], second[name]
            if corrected:
                up, down = up / (1 - 0.9 ** (step + 1)), down / (1 - 0.999 ** (step + 1))
            change = up / (np.sqrt(down) + epsilon)
            if name == "dense.weight" and not l2:  # neither on biases nor on norms
                change = change + decay * weights[name]
            weights[name] = weights[name] - rate * change
    return weights


@pytest.mark.parametrize("scale", [0.01, 3.0], ids=["below the clip", "clipped"])
@pytest.mark.parametrize(
    ("name", "clip", "corrected"),
    [
        ("bertadam", "tensor", False),
        ("bertadam", "off", False),
        ("adamw", "tensor", True),
        ("adamw", "global", True),
        ("adamw", "off", True),
        ("adam", "global", True),
        ("adam", "off", True),
    ],
)
def test_optimizer_matches_numpy(name, clip, corrected, scale):
    net = Net()
    start = net.arrays()
    settings = {**SETTINGS, "grad_clip": "global" if clip == "off" else clip, "max_grad_norm": 0.0 if clip == "off" else 1.0}
    optimizer = create_optimizer(net, name, **settings)
    for step in range(5):
        update(net, optimizer, step, 0.01 * (step + 1), scale)
    expected = numpy_adam(start, 5, scale, corrected=corrected, clip=clip, l2=name == "adam")
    found = net.arrays()
    for parameter, array in expected.items():
        if "unused" not in parameter:
            np.testing.assert_allclose(found[parameter], array, rtol=2e-4, atol=2e-5, err_msg=parameter)


@pytest.mark.parametrize("name", ["bertadam", "adamw", "adam"])
def test_parameters_without_gradient_are_unchanged(name):
    net = Net()
    before = net.arrays()
    optimizer = create_optimizer(net, name, **SETTINGS)
    update(net, optimizer, 0, 0.1)
    after = net.arrays()
    for parameter in ("unused.weight", "unused.bias"):
        np.testing.assert_array_equal(after[parameter], before[parameter])
    assert np.abs(after["dense.weight"] - before["dense.weight"]).max() > 0


def test_frozen_parameters_get_no_optimizer_state():
    net = Net()
    net.unused.weight.stop_gradient = True
    optimizer = create_optimizer(net, "adamw", **SETTINGS)
    update(net, optimizer, 0, 0.1)
    assert not [name for name in optimizer_arrays(optimizer, net) if "unused" in name]


def test_biases_and_norms_are_not_decayed():
    net = Net()
    names = {parameter.name: name for name, parameter in net.named_parameters()}
    assert {names[name] for name in decayed_names(net)} == {"dense.weight", "unused.weight"}


@pytest.mark.parametrize("name", ["bertadam", "adamw"])
def test_first_update_with_rate_zero_leaves_weights_unchanged(name):
    net = Net()
    before = net.arrays()
    update(net, create_optimizer(net, name, **SETTINGS), 0, 0.0)
    for parameter, array in net.arrays().items():
        np.testing.assert_array_equal(array, before[parameter], err_msg=parameter)


@pytest.mark.parametrize("name", ["bertadam", "adamw"])
def test_optimizer_state_restores_into_a_new_instance(name):
    net = Net()
    optimizer = create_optimizer(net, name, **SETTINGS)
    for step in range(3):
        update(net, optimizer, step, 0.05)
    arrays, weights = optimizer_arrays(optimizer, net), net.arrays()
    assert {key.split("|")[0] for key in arrays} == {"dense.weight", "dense.bias", "norm.weight", "norm.bias"}
    assert not any(parameter.name in key for parameter in net.parameters() for key in arrays)

    other = Net(seed=9)  # Paddle numbers its layers: these have other names
    assert not {p.name for p in other.parameters()} & {p.name for p in net.parameters()}
    for parameter_name, parameter in other.named_parameters():
        parameter.set_value(weights[parameter_name])
    resumed = create_optimizer(other, name, **SETTINGS)
    load_optimizer_arrays(resumed, other, arrays)
    without = Net(seed=9)
    for parameter_name, parameter in without.named_parameters():
        parameter.set_value(weights[parameter_name])
    forgetful = create_optimizer(without, name, **SETTINGS)
    for step in range(3, 6):
        for each, its in ((net, optimizer), (other, resumed), (without, forgetful)):
            update(each, its, step, 0.05)
    for parameter_name, array in net.arrays().items():
        np.testing.assert_array_equal(other.arrays()[parameter_name], array, err_msg=parameter_name)
    assert np.abs(without.arrays()["dense.weight"] - net.arrays()["dense.weight"]).max() > 1e-4


@pytest.mark.parametrize("name", ["bertadam", "adamw"])
def test_saved_state_does_not_follow_later_updates(name):
    net = Net()
    optimizer = create_optimizer(net, name, **SETTINGS)
    update(net, optimizer, 0, 0.05)
    arrays = optimizer_arrays(optimizer, net)
    copies = {key: array.copy() for key, array in arrays.items()}
    update(net, optimizer, 1, 0.05)
    for key, array in copies.items():
        np.testing.assert_array_equal(arrays[key], array, err_msg=key)
