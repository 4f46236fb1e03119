"""Selections and hidden loss of "Marginal Utility Diminishes" against its published code."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.parity.fixtures import fixtures, read
from tinybert.mapping import LayerMap
from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs
from tinybert.objectives.mud import MaskStart, SelectedHiddenLoss
from tinybert.traces.selection import DimensionSelection, Selection, TokenSelection, deciding_layers, uniform_dims

FILES = fixtures("mud_cases_*.npz")
CASES = [(path, i) for path in FILES for i in range(len(read(path)[0]["cases"]))]


@pytest.fixture(scope="module")
def world():
    return {path: (*read(path), *read(path.with_name(path.name.replace("cases", "inputs")))) for path in FILES}


def _selection(case: dict, models: dict, arrays: dict) -> Selection:
    depths = models["student"]["layers"], models["teacher"]["layers"]
    if case["s_layer_indices"]:
        pairs = ",".join(f"{s}:{t}" for s, t in zip(case["s_layer_indices"], case["t_layer_indices"], strict=True))
        layers = LayerMap.create(pairs, *depths)
    else:
        layers = LayerMap.grid(*depths, int(case["layer_scheme"].removeprefix("t_top")), case["keep_layers"])
    scheme, width = case["hidden_scheme"], models["fit_size"]
    dims = ()
    if scheme == "uniform_mask":
        dims = uniform_dims(width, case["keep_hidden"])
    elif scheme == "rand_mask":
        dims = tuple(map(int, np.flatnonzero(arrays["dim_mask"])))
    return Selection(
        layers.hidden,
        deciding_layers(layers.hidden, *depths, published=case["att_ttop12"]),
        TokenSelection(case["token_scheme"], case["keep_tokens"], models["sep_id"]),
        DimensionSelection(scheme, case["keep_hidden"], dims, over="batch"),
    )


def _traces(inputs: dict) -> tuple[EncoderTrace, EncoderTrace, Inputs]:
    student, teacher = EncoderTrace(), EncoderTrace()
    student.hidden = {i: paddle.to_tensor(array, stop_gradient=False) for i, array in enumerate(inputs["student_reps_projected"])}
    teacher.hidden = {i: paddle.to_tensor(array) for i, array in enumerate(inputs["teacher_reps"])}
    teacher.scores = {i: paddle.to_tensor(array) for i, array in enumerate(inputs["teacher_atts"])}
    ids, segments, mask = (paddle.to_tensor(inputs[name]) for name in ("input_ids", "segment_ids", "attention_mask"))
    return student, teacher, Inputs(ids, segments, mask.astype("float32"))


@pytest.mark.parametrize(("path", "number"), CASES, ids=[f"{path.stem}-{i}" for path, i in CASES])
def test_selection_and_loss_match_the_published_code(world, path, number):
    config, arrays, models, inputs = world[path]
    case = config["cases"][number]
    expected = {name.split("/")[1]: array for name, array in arrays.items() if name.startswith(case["name"] + "/")}
    selection = _selection(case, models, expected)
    assert [s for s, _ in selection.pairs] == expected["student_layers"].tolist()
    assert [t for _, t in selection.pairs] == expected["teacher_layers"].tolist()
    assert list(selection.attention) == expected["teacher_attention_layers"].tolist()
    student, teacher, batch = _traces(inputs)
    chosen = selection.of(teacher, batch)
    if "token_positions" in expected:
        for own, published in zip(chosen.values(), expected["token_positions"], strict=True):
            assert [set(row) for row in own.positions.numpy().tolist()] == [set(row) for row in published.tolist()]
    if "dim_mask" in expected:
        np.testing.assert_array_equal(next(iter(chosen.values())).kept.numpy() > 0, expected["dim_mask"])
    if "kept_per_layer" in expected:
        assert [int(own.kept.sum()) for own in chosen.values()] == expected["kept_per_layer"].tolist()
        if "token_positions" not in expected:
            shape = expected["value_mask_shape"]
            bits = np.unpackbits(expected["value_masks"], axis=1)[:, : np.prod(shape[1:])].reshape(shape)
            np.testing.assert_array_equal(np.stack([own.kept.numpy() for own in chosen.values()]), bits)
    start = MaskStart()
    layers, width = models["student"]["layers"], models["fit_size"]
    loss = SelectedHiddenLoss(selection, Projection("none", layers, width, width), "teacher", "mean", start)
    for step in (0, 1):
        parts = np.array([float(value) for value in loss.terms(student, teacher, batch)])
        np.testing.assert_allclose(parts, expected[f"loss_per_layer_step{step}"], rtol=1e-6)
        np.testing.assert_allclose(parts.sum(), expected[f"loss_rep_step{step}"], rtol=1e-6)
        start.end_step()
    if "grad_student_reps" in expected:
        loss(student, teacher, batch).backward()
        for i, published in enumerate(expected["grad_student_reps"]):
            gradient = student.hidden[i].grad
            own = np.zeros_like(published) if gradient is None else gradient.numpy()
            np.testing.assert_allclose(own, published, atol=1e-4 * max(np.abs(published).max(), 1e-9))
