"""Losses, parts and gradients of TinyBERT's two stages against numbers from the published code."""

from __future__ import annotations

import re

import numpy as np
import paddle
import pytest

from tests.parity.fixtures import assert_gradients, fixtures, inputs_of, model_of, part, projection_of, read
from tests.tiny import all_needs
from tinybert.kinds.kind import LogitOptions
from tinybert.kinds.registry import kind_of_outputs
from tinybert.mapping import LayerMap
from tinybert.models.trace import Needs, trace
from tinybert.objectives.tinybert import intermediate_objective, prediction_objective
from tinybert.objectives.trained_layer import TrainedLayer

HUAWEI = {"hidden_reduction": "mean", "attention_reduction": "zeroed"}


def _models(config, arrays, outputs, student_prefix="student/"):
    teacher, _ = model_of(config["teacher"], part(arrays, "teacher/"), outputs)
    student, renamed = model_of(config["student"], part(arrays, student_prefix), outputs)
    return teacher, student, projection_of(config, renamed)


def _outputs(config) -> int:
    return 1 if config.get("regression") else config["num_labels"]


@pytest.mark.parametrize("path", fixtures("tinybert_intermediate_*.npz"), ids=lambda path: path.stem)
def test_intermediate_losses_and_gradients_match_the_published_code(path):
    config, arrays = read(path)
    teacher, student, projection = _models(config, arrays, _outputs(config))
    layer_map = LayerMap.create("uniform", config["student"]["layers"], config["teacher"]["layers"])
    assert [t for _, t in layer_map.attention] == arrays["map_att"].tolist()
    assert [t for _, t in layer_map.hidden] == arrays["map_rep"].tolist()

    objective = intermediate_objective(layer_map, projection, **HUAWEI)
    layer = TrainedLayer(student, objective)
    layer.freeze_padding_row()
    inputs = inputs_of(arrays)
    with paddle.no_grad():
        teacher_trace = trace(teacher, inputs, objective.needs_teacher)
        student_trace = trace(student, inputs, objective.needs_student)
    losses = {p.name: p.loss for p in objective.parts}
    attention = [float(x) for x in losses["attn"].terms(student_trace, teacher_trace, inputs)]
    hidden = [float(x) for name in ("embd", "hidn") for x in losses[name].terms(student_trace, teacher_trace, inputs)]
    np.testing.assert_allclose(attention, arrays["loss_att_per_layer"], rtol=1e-5)
    np.testing.assert_allclose(hidden, arrays["loss_rep_per_entry"], rtol=1e-5)

    parts = layer(inputs, teacher_trace)
    np.testing.assert_allclose(float(parts["loss"]), arrays["loss_total"], rtol=1e-5)
    np.testing.assert_allclose(float(parts["attn"]), arrays["loss_att"], rtol=1e-5)
    np.testing.assert_allclose(float(parts["embd"] + parts["hidn"]), arrays["loss_rep"], rtol=1e-5)
    parts["loss"].backward()
    assert assert_gradients(layer, arrays, "grad/") > 0
    without = sum(parameter.grad is None for _, parameter in layer.named_parameters())
    assert without == len(arrays["params_without_grad"])


@pytest.mark.parametrize("path", fixtures("tinybert_intermediate_*.npz"), ids=lambda path: path.stem)
def test_trace_matches_the_published_forward_pass(path):
    config, arrays = read(path)
    teacher, student, projection = _models(config, arrays, _outputs(config))
    inputs = inputs_of(arrays)
    with paddle.no_grad():
        for model, name in ((teacher, "teacher"), (student, "student")):
            found = trace(model, inputs, all_needs(config[name]["layers"]))
            scores = np.stack([found.scores[i].numpy() for i in sorted(found.scores)])
            real = arrays[f"{name}_atts"] > -100
            np.testing.assert_allclose(scores[real], arrays[f"{name}_atts"][real], atol=1e-4)
            np.testing.assert_allclose(scores[~real], arrays[f"{name}_atts"][~real], atol=5e-3)
            np.testing.assert_allclose(found.logits.numpy(), arrays[f"{name}_logits"], atol=1e-4)
            hidden = [found.hidden[i] for i in sorted(found.hidden)]
            if name == "student":
                hidden = [projection(i, state) for i, state in enumerate(hidden)]
            expected = arrays["teacher_reps" if name == "teacher" else "student_reps_projected"]
            np.testing.assert_allclose(np.stack([state.numpy() for state in hidden]), expected, atol=1e-4)


@pytest.mark.parametrize("path", fixtures("tinybert_prediction_*.npz"), ids=lambda path: path.stem)
def test_prediction_loss_and_gradients_match_the_published_code(path):
    config, arrays = read(path)
    regression = bool(config["regression"])
    prefixes = [""] if regression else sorted({match[0] for key in arrays if (match := re.match(r"T[\d.]+/", key))})
    assert prefixes
    for prefix in prefixes:
        teacher, student, _ = _models(config, arrays, _outputs(config))
        objective = prediction_objective(
            kind_of_outputs(_outputs(config)),
            LogitOptions(float(prefix[1:-1]) if prefix else 1.0, "mean", False, "gold"),
        )
        layer = TrainedLayer(student, objective)
        layer.freeze_padding_row()
        inputs = inputs_of(arrays)
        with paddle.no_grad():
            teacher_trace = trace(teacher, inputs, Needs(logits=True))
        np.testing.assert_allclose(teacher_trace.logits.numpy(), arrays["teacher_logits"], atol=1e-4)
        loss = layer(inputs, teacher_trace)["loss"]
        np.testing.assert_allclose(float(loss), arrays[f"{prefix}loss_total"], rtol=1e-5)
        loss.backward()
        assert assert_gradients(layer, arrays, f"{prefix}grad/") > 0
