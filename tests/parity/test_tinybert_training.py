"""Whole training trajectories, both stages with BertAdam, against the published code."""

from __future__ import annotations

import numpy as np
import pytest

from tests.parity.fixtures import fixtures, inputs_of, model_of, paddle_name, part, projection_of, read
from tinybert.engine.optimizers import create_optimizer
from tinybert.engine.schedules import schedule
from tinybert.kinds.kind import LogitOptions
from tinybert.kinds.registry import kind_of_outputs
from tinybert.mapping import LayerMap
from tinybert.objectives.tinybert import intermediate_objective, prediction_objective
from tinybert.objectives.trained_layer import Teacher, TrainedLayer


@pytest.mark.parametrize("path", fixtures("tinybert_training_*.npz"), ids=lambda path: path.stem)
def test_two_stage_training_follows_the_published_trajectory(path):
    config, arrays = read(path)
    outputs = 1 if config.get("regression") else config["num_labels"]
    teacher, _ = model_of(config["teacher"], part(arrays, "teacher/"), outputs)
    student, renamed = model_of(config["student"], part(arrays, "student_init/"), outputs)
    projection = projection_of(config, renamed)
    layer_map = LayerMap.create("uniform", config["student"]["layers"], config["teacher"]["layers"])
    objectives = {
        "intermediate": intermediate_objective(layer_map, projection, hidden_reduction="mean", attention_reduction="zeroed"),
        "prediction": prediction_objective(
            kind_of_outputs(outputs),
            LogitOptions(config["prediction"].get("temperature", 1.0), "mean", False, "gold"),
        ),
    }
    objectives["prediction"].projection = projection  # keeps its parameter name, without a gradient
    for stage, objective in objectives.items():
        layer = TrainedLayer(student, objective)
        if stage == "intermediate":
            layer.freeze_padding_row()
        _train_and_compare(stage, config, arrays, layer, Teacher(teacher, objective.needs_teacher))


def _train_and_compare(stage, config, arrays, layer, teacher):
    settings, adam = config[stage], config["optimizer"]
    losses = arrays[f"{stage}/loss_total"]
    for parameter in layer.parameters():
        parameter.stop_gradient = False
    optimizer = create_optimizer(
        layer,
        "bertadam",
        weight_decay=adam["weight_decay"],
        epsilon=adam["eps"],
        max_grad_norm=adam["per_tensor_clip_norm"],
        grad_clip="tensor",
    )
    total = settings.get("t_total", len(losses))
    kind = "linear" if settings["schedule"] == "warmup_linear" else "constant"
    rate = schedule(kind, settings["lr"], total, settings.get("warmup", 0.0) * total)
    found = []
    for step in range(len(losses)):
        inputs = inputs_of(arrays, step)
        np.testing.assert_allclose(rate(step), settings["lr"] * arrays[f"{stage}/lr_multiplier"][step], atol=1e-12)
        optimizer.set_lr(rate(step))
        loss = layer(inputs, teacher(inputs))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        found.append(float(loss))
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    parameters = dict(layer.named_parameters())
    compared = 0
    for name, expected in part(arrays, f"{stage}/final/").items():
        ours, transposed = paddle_name(name)
        if ours not in parameters:
            continue
        array = parameters[ours].numpy()
        np.testing.assert_allclose(array.T if transposed and array.ndim == 2 else array, expected, atol=5e-5, err_msg=name)
        compared += 1
    assert compared == len(parameters)


def test_schedule_factors_match_the_published_warmup():
    # p = step / total with a warm-up share of 0.1: 0 -> 0, .05 -> .5, .1 -> 1, .55 -> .5, 1 -> 0; without warm-up the first is 1
    rate = schedule("linear", 1.0, 100, 10.0)
    np.testing.assert_allclose([rate(s) for s in (0, 5, 10, 55, 100)], [0, 0.5, 1, 0.5, 0], atol=1e-12)
    assert schedule("linear", 1.0, 100, 0.0)(0) == 1.0
