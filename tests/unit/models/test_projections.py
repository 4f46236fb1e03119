"""Projections from the student's width to the teacher's."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tinybert.errors import UserError
from tinybert.models.projections import Projection, layout_of, layouts_of

HIDDEN = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32"))


def by_hand(projection: Projection, name: str) -> np.ndarray:
    arrays = projection.arrays()
    return HIDDEN.numpy() @ arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


def test_shared_projection_is_the_same_for_every_entry():
    projection = Projection("shared", 2, 4, 6)
    assert set(projection.arrays()) == {"fit_dense.weight", "fit_dense.bias"}
    for entry in range(3):
        np.testing.assert_allclose(projection(entry, HIDDEN).numpy(), by_hand(projection, "fit_dense"), rtol=1e-5, atol=1e-7)


def test_per_layer_projection_uses_the_matrix_of_its_entry():
    projection = Projection("per_layer", 2, 4, 6)
    assert len(projection.arrays()) == 6
    for entry in range(3):
        np.testing.assert_allclose(projection(entry, HIDDEN).numpy(), by_hand(projection, f"fit_denses.{entry}"), rtol=1e-5, atol=1e-7)


def test_no_projection_keeps_states_and_requires_equal_widths():
    projection = Projection("none", 2, 4, 4)
    assert not projection.arrays()
    np.testing.assert_array_equal(projection(1, HIDDEN).numpy(), HIDDEN.numpy())
    with pytest.raises(UserError, match="width 4 and the teacher 6"):
        Projection("none", 2, 4, 6)


@pytest.mark.parametrize("mode", ["shared", "per_layer"])
def test_projection_weights_survive_saving_and_loading(mode):
    one, other = Projection(mode, 2, 4, 6), Projection(mode, 2, 4, 6)
    other.load({**one.arrays(), "of no interest": np.zeros(1)})
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


def test_projection_of_another_shape_or_layout_is_refused():
    projection = Projection("shared", 2, 4, 6)
    with pytest.raises(UserError, match=r"fit_dense.weight has shape \[4, 8\] .* expected shape \[4, 6\]"):
        projection.load(Projection("shared", 2, 4, 8).arrays())
    with pytest.raises(UserError, match="fit_dense.weight is missing"):
        projection.load(Projection("per_layer", 2, 4, 6).arrays())


def test_layout_of_a_checkpoint_is_recognised():
    shared, per_layer = Projection("shared", 2, 4, 6).arrays(), Projection("per_layer", 2, 4, 6).arrays()
    assert layout_of(shared) == "shared"
    assert layout_of(per_layer) == layout_of(shared | per_layer) == "per_layer"
    assert layout_of({}) is None


def test_trained_projection_of_bert_emd_is_preferred():
    # its class has both; --share_param True, the default, trains share_fit_dense and leaves fit_denses at their initial values
    shared, per_layer = Projection("shared", 2, 4, 6), Projection("per_layer", 2, 4, 6).arrays()
    arrays = per_layer | {f"share_{name}": array for name, array in shared.arrays().items()}
    assert layouts_of(arrays) == ("shared", "per_layer") and layout_of(arrays) == "shared"
    for mode, expected in (("shared", shared.arrays()), ("per_layer", per_layer)):
        found = Projection(mode, 2, 4, 6)
        found.load(arrays)
        for name, array in found.arrays().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert layouts_of(shared.arrays() | per_layer) == ("per_layer", "shared")
    assert layouts_of(shared.arrays()) == ("shared",) and layouts_of({}) == ()
