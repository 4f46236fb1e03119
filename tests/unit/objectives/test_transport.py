"""Transport between all layers: costs, gradients and invariances."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.unit.objectives import random_traces as made
from tinybert.objectives.layer_distances import LayerDistances
from tinybert.objectives.layer_weights import LayerWeights
from tinybert.objectives.transport import AttentionTransportLoss, HiddenTransportLoss

LAYERS = (2, 4)


@pytest.fixture(params=["our CPU operations", "Paddle's operations"])
def way(request, monkeypatch):
    """Both implementations of distances."""
    monkeypatch.setenv("TINYBERT_CPU_OPS", "1" if request.param == "our CPU operations" else "0")
    return request.param


def losses(weights: LayerWeights | None = None, mode: str = "shared", **attention):
    weights = weights or LayerWeights(*LAYERS)
    reduction = attention.get("reduction", "masked")
    hidden = HiddenTransportLoss(LAYERS, weights, made.projection(mode), "masked" if reduction == "masked" else "mean")
    return {"attn": AttentionTransportLoss(LAYERS, weights, **attention), "hidn": hidden}


def direct(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The distances by definition, in float64."""
    return np.array([[((x.astype("f8") - y.astype("f8")) ** 2).sum() for y in b] for x in a])


def arrays(students: int, teachers: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return tuple(random.standard_normal((n, size)).astype("float32") for n in (students, teachers))


def distances(a: np.ndarray, b: np.ndarray, **more) -> np.ndarray:
    ours, theirs = ([paddle.to_tensor(x).reshape([1, -1, 1]) for x in each] for each in (a, b))
    return LayerDistances(ours, theirs, None, **more).means() * a.shape[1]


@pytest.mark.parametrize("chunk", [7, 64, 1000, 1 << 16])
def test_distances_do_not_depend_on_the_chunk_size(chunk, way):
    a, b = arrays(3, 5, 1000)
    np.testing.assert_allclose(distances(a, b, chunk=chunk), direct(a, b), rtol=1e-12)


@pytest.mark.parametrize("noise", [1e-1, 1e-3, 1e-5, 1e-6, 1e-7])
def test_distances_of_nearly_equal_layers_keep_their_precision(noise, way):
    a, b = arrays(3, 5, 3000)
    b += 5.0
    a = (b[[0, 2, 4]] + noise * a).astype("float32")
    expected = direct(a, b)
    assert (expected[0, 0] / (b[0].astype("f8") ** 2).sum()) < 10 * noise**2 or noise < 1e-6
    np.testing.assert_allclose(distances(a, b), expected, rtol=1e-6)


def test_common_shift_of_all_layers_keeps_the_distances(way):
    # raw scores of padded keys are near -10000
    a, b = (each * 1e-2 - 10000 for each in arrays(3, 5, 3000))
    a, b = a.astype("float32"), b.astype("float32")
    np.testing.assert_allclose(distances(a, b), direct(a, b), rtol=1e-9)


def test_equal_layers_have_distance_zero(way):
    a, b = arrays(2, 3, 500)
    b[1] = a[0]
    assert distances(a, b)[0, 1] == 0.0


@pytest.mark.parametrize("reduction", ["masked", "zeroed", "raw"])
@pytest.mark.parametrize("heads", ["match", "average"])
@pytest.mark.parametrize("mode", ["shared", "per_layer"])
def test_gradient_equals_that_of_the_written_out_sum(reduction, heads, mode, way):
    # the same flow, with the loss as S x N mean squared errors on padded tensors, differentiated by Paddle
    teacher = made.teacher(heads=3 if heads == "average" else 2).trace()
    inputs = made.inputs()
    weights = LayerWeights(*LAYERS)
    found, written = made.student().trace(trained=True), made.student().trace(trained=True)
    parts = losses(weights, mode, reduction=reduction, heads=heads)
    values = {name: loss(found, teacher, inputs) for name, loss in parts.items()}
    sum(values.values()).backward()
    weights.end_step()
    projection = parts["hidn"].projection
    projected = {name: p.grad.numpy() for name, p in projection.named_parameters() if p.grad is not None}
    projection.clear_gradients()

    mask = inputs.attention_mask
    pairs = mask.unsqueeze([1, 3]) * mask.unsqueeze([1, 2])

    def mse(a, b, real):
        if reduction != "masked":
            return ((a - b) ** 2).mean()
        return (((a - b) * real) ** 2).sum() / (real.sum() * (a.size / real.size))

    def scores(x):
        x = paddle.where(x <= -100, paddle.zeros_like(x), x) if reduction == "zeroed" else x
        return x.mean(1, keepdim=True) if heads == "average" else x

    total = {"attn": 0.0, "hidn": 0.0}
    for i in range(2):
        for j in range(4):
            attention = mse(scores(written.scores[i]), scores(teacher.scores[j]), pairs)
            hidden = mse(projection(i + 1, written.hidden[i + 1]), teacher.hidden[j + 1], mask.unsqueeze(-1))
            total["attn"] += float(weights.flows["attn"][i, j]) * attention
            total["hidn"] += float(weights.flows["hidn"][i, j]) * hidden
            np.testing.assert_allclose(weights.costs["attn"][i, j], float(attention), rtol=1e-5)
            np.testing.assert_allclose(weights.costs["hidn"][i, j], float(hidden), rtol=1e-5)
    sum(total.values()).backward()
    for name in total:
        np.testing.assert_allclose(float(values[name]), float(total[name]), rtol=1e-5)
    for name in ("hidden", "scores"):
        for ours, theirs in zip(getattr(found, name).values(), getattr(written, name).values(), strict=True):
            if theirs.grad is not None:
                np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-6)
            else:
                assert ours.grad is None
    assert projected
    for name, parameter in projection.named_parameters():
        if name in projected:
            np.testing.assert_allclose(projected[name], parameter.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 6, 4), (3, 2, 6, 6)], ids=["hidden", "scores"])
@pytest.mark.parametrize("ends", ["in padding", "anywhere"])
def test_distances_of_padded_rows_count_each_token_once(shape, ends):
    random = np.random.default_rng(5)
    real = np.arange(6) < np.array([[6], [1], [4]])
    real = real if ends == "in padding" else real[:, [0, 5, 1, 2, 3, 4]]
    a, b = (random.standard_normal((n, *shape)).astype("float32") for n in (2, 3))
    flow = random.random((2, 3))
    counts = real[:, None, :, None] & real[:, None, None, :] if len(shape) == 4 else real[:, :, None]
    counts = np.broadcast_to(counts, shape)
    expected = np.array([[((x.astype("f8") - y.astype("f8"))[counts] ** 2).mean() for y in b] for x in a])
    pulls = [sum(f * 2 * (x - y) * counts / counts.sum() for f, y in zip(row, b, strict=True)) for x, row in zip(a, flow, strict=True)]
    for chunk in (1, 9, 1 << 15):
        ours, theirs = ([paddle.to_tensor(x, stop_gradient=False) for x in each] for each in (a, b))
        found = LayerDistances(ours, theirs, real, chunk)
        assert (found.pieces is None) == (ends == "anywhere")
        np.testing.assert_allclose(found.means(), expected, rtol=1e-12)
        (3 * found.transported(flow, 1.0)).backward()
        for x, pull in zip(ours, pulls, strict=True):
            np.testing.assert_allclose(x.grad.numpy(), 3 * pull, atol=1e-6)


def test_masked_costs_do_not_depend_on_padding(way):
    student, teacher = made.student(), made.teacher()
    for name, loss in losses().items():
        near = loss.distances(student.trace(), teacher.trace(), made.inputs()).means()
        far = loss.distances(student.wider(5).trace(), teacher.wider(5).trace(), made.inputs(width=12)).means()
        np.testing.assert_allclose(far, near, rtol=1e-9, err_msg=name)


def test_evaluation_does_not_change_the_layer_weights():
    weights = LayerWeights(*LAYERS)
    for loss in losses(weights).values():
        loss.eval()
        loss(made.student().trace(), made.teacher().trace(), made.inputs())
    before = weights.by_name()
    weights.end_step()
    assert all((weights.by_name()[name] == array).all() for name, array in before.items()) and not weights.flows


def test_only_the_student_gets_a_gradient(way):
    student, teacher = made.student().trace(trained=True), made.teacher().trace()
    losses()["attn"](student, teacher, made.inputs()).backward()
    assert all(each.grad is not None and float(each.grad.abs().sum()) > 0 for each in student.scores.values())
    assert all(each.grad is None for each in teacher.scores.values())


def test_non_finite_loss_is_returned_without_calling_the_solver():
    student, teacher = made.student().trace(trained=True), made.teacher().trace()
    student.scores[0] = student.scores[0] * float("nan")
    assert not np.isfinite(float(losses()["attn"](student, teacher, made.inputs())))
