"""BERT-EMD against numbers from the published code: costs, flows, losses, gradients, layer weights, a trained trajectory."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest

from tests.parity.fixtures import assert_gradients, fixtures, inputs_of, model_of, paddle_name, part, projection_of, read
from tinybert.engine.optimizers import create_optimizer
from tinybert.kinds.kind import LogitOptions
from tinybert.kinds.registry import kind_of_outputs
from tinybert.models.trace import trace
from tinybert.objectives.emd import Comparison, Shares, emd_objective
from tinybert.objectives.layer_weights import LayerWeights, transport_flow, updated
from tinybert.objectives.trained_layer import Teacher, TrainedLayer

PUBLISHED = Comparison(attention_reduction="zeroed", hidden_reduction="mean")
RUNS = [path for path in fixtures("emd_*.npz") if json.loads(path.with_suffix(".json").read_text())["kind"] == "emd"]
ADAM = {"weight_decay": 0.01, "epsilon": 1e-6, "max_grad_norm": 1.0, "grad_clip": "tensor"}  # README section 3.3
KINDS = {"att": "attn", "rep": "hidn"}


def _layer_weights(config, models) -> LayerWeights:
    return LayerWeights(
        models["student"]["layers"],
        models["teacher"]["layers"],
        rule=config["rule"],
        temperature=config["T_emd"] or 1.0,
        merge=not config["separate"],
        second_softmax=bool(config["add_softmax"]),
        update=config["update_weight"],
    )


def _world(path):
    """Everything that a run needs: settings, values, batches, trained layer, teacher, layer weights."""
    config, arrays = read(path)
    models, batches = read(path.with_name(config["models"]))
    outputs = 1 if models["regression"] else models["num_labels"]
    teacher, _ = model_of(models["teacher"], part(batches, "teacher/"), outputs)
    student, renamed = model_of(models["student"], part(batches, "student/"), outputs)
    weights = _layer_weights(config, models)
    objective = emd_objective(
        (models["student"]["layers"], models["teacher"]["layers"]),
        weights,
        projection_of(models, renamed, "shared" if config["share_param"] else "per_layer"),
        kind_of_outputs(outputs),
        LogitOptions(config["T"], "mean", True),
        Shares(config["beta"], config["theta"], alpha=config["alpha"], reduce_temperature=config["reduce_T"]),
        PUBLISHED,
    )
    layer = TrainedLayer(student, objective)
    layer.freeze_padding_row()
    return config, models, arrays, batches, layer, Teacher(teacher, objective.needs_teacher, "eval"), weights


def _steps(arrays) -> int:
    return len(arrays["exact/total"])


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_flows_match_the_published_ones_for_the_published_costs(path):
    _, arrays = read(path)
    for step in range(_steps(arrays)):
        for kind in KINDS:
            before = [arrays[f"exact/w_before_{kind}_{side}"][step] for side in ("student", "teacher")]
            flow = transport_flow(arrays[f"exact/cost_{kind}"][step], *before)
            np.testing.assert_allclose(flow, arrays[f"exact/flow_{kind}"][step], rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_layer_weights_match_the_published_ones_for_the_published_costs(path):
    config, arrays = read(path)
    models, _ = read(path.with_name(config["models"]))
    weights = _layer_weights(config, models)
    for step in range(_steps(arrays)):
        for kind, ours in KINDS.items():
            np.testing.assert_allclose(weights.student[ours], arrays[f"exact/w_before_{kind}_student"][step], rtol=0, atol=1e-9)
            weights.flow(ours, arrays[f"exact/cost_{kind}"][step], share=1.0, keep=True)
        weights.end_step()
        for kind, ours in KINDS.items():
            np.testing.assert_allclose(weights.student[ours], arrays[f"exact/w_{kind}_student"][step], rtol=0, atol=1e-9)
            np.testing.assert_allclose(weights.teacher[ours], arrays[f"exact/w_{kind}_teacher"][step], rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_losses_gradients_and_weights_match_the_published_run(path):
    config, models, arrays, batches, layer, teacher, weights = _world(path)
    adam = config["optimizer"]
    optimizer = create_optimizer(layer, "bertadam", **ADAM) if adam else None
    losses = {p.name: p.loss for p in layer.objective.parts}
    layer.train()
    for step in range(_steps(arrays)):
        inputs = inputs_of(batches, step)
        teacher_trace = teacher(inputs)
        with paddle.no_grad():
            student_trace = trace(layer.student, inputs, layer.objective.needs_student)
        expected = {name: array[step] for name, array in part(arrays, "exact/").items()}
        for kind, ours in KINDS.items():
            cost = losses[ours].distances(student_trace, teacher_trace, inputs).means()
            np.testing.assert_allclose(cost, expected[f"cost_{kind}"], rtol=1e-5 if step == 0 or not adam else 1e-4)
        parts = layer(inputs, teacher_trace)
        rtol = 1e-4 if adam else 1e-5
        for name, ours in {"L_att": "attn", "L_rep": "hidn", "L_emb": "embd", "total": "loss"}.items():
            np.testing.assert_allclose(float(parts[ours]), expected[name], rtol=rtol, err_msg=f"{name} of step {step}")
        pred = float(parts.get("pred", 0.0)) / (1.0 if models["regression"] else config["reduce_T"])
        if config["alpha"]:
            np.testing.assert_allclose(pred, expected["kd"], rtol=rtol)
        cls = config["alpha"] * pred + (1 - config["alpha"]) * float(parts.get("gold", 0.0))
        np.testing.assert_allclose(cls, expected["L_cls"], rtol=rtol)
        parts["loss"].backward()
        if step == 0:
            assert assert_gradients(layer, arrays, "grad_step0/") > 0
        if optimizer:
            optimizer.set_lr(adam["lr"])
            optimizer.step()
        for parameter in layer.parameters():
            parameter.clear_gradient()
        weights.end_step()
        for kind, ours in KINDS.items():
            np.testing.assert_allclose(weights.flows[ours], expected[f"flow_{kind}"], atol=1e-6 if not adam else 1e-5)
            np.testing.assert_allclose(weights.student[ours], expected[f"w_{kind}_student"], atol=1e-6 if not adam else 1e-5)
            np.testing.assert_allclose(weights.teacher[ours], expected[f"w_{kind}_teacher"], atol=1e-6 if not adam else 1e-5)
    parameters = dict(layer.named_parameters())
    final = part(arrays, "final/")
    assert bool(final) == bool(adam)
    for name, array in final.items():
        ours, transposed = paddle_name(name)
        found = parameters[ours].numpy()
        np.testing.assert_allclose(found.T if transposed and found.ndim == 2 else found, array, atol=5e-5, err_msg=name)


@pytest.mark.parametrize("path", fixtures("emd_random_flows*.npz"), ids=lambda path: path.stem)
def test_random_transport_problems_are_solved_exactly(path):
    config, arrays = read(path)
    for case in range(config["cases"]):
        one = part(arrays, f"case{case:02d}/")
        flow = transport_flow(one["cost"], one["w_student"], one["w_teacher"])
        np.testing.assert_allclose(flow, one["flow_exact"], rtol=0, atol=1e-9)
        np.testing.assert_allclose((flow * one["cost"]).sum(), one["emd_exact"], rtol=1e-9)


def test_weight_rule_matches_hand_computed_values():
    half, paid = np.full(2, 0.5), np.array([0.1, 0.3])
    np.testing.assert_allclose(updated(half, paid), [0.75, 0.25], atol=1e-12)
    np.testing.assert_allclose(updated(half, paid, "softmax", 1.0), [0.935031, 0.064969], atol=1e-6)
    np.testing.assert_allclose(updated(half, paid, "softmax", 5.0), [0.630260, 0.369740], atol=1e-6)


def test_two_steps_of_transport_match_hand_computed_values():
    cost = np.array([[1, 2, 3], [2, 1, 0.5]])
    weights = LayerWeights(2, 3, kinds=("attn",))
    steps = [
        ([[1 / 3, 1 / 6, 0], [0, 1 / 6, 1 / 3]], 1.0, [1 / 3, 2 / 3], [3 / 11, 2 / 11, 6 / 11]),
        ([[0.272727, 0.060606, 0], [0, 0.121212, 0.545455]], 0.787879, [1 / 3, 2 / 3], [0.266667, 0.2, 0.533333]),
    ]
    for flow, value, student, teacher in steps:
        found = weights.flow("attn", cost, share=1.0, keep=True)
        weights.end_step()
        np.testing.assert_allclose(found, flow, atol=1e-6)
        np.testing.assert_allclose((found * cost).sum(), value, atol=1e-6)
        np.testing.assert_allclose(weights.student["attn"], student, atol=1e-6)
        np.testing.assert_allclose(weights.teacher["attn"], teacher, atol=1e-6)
