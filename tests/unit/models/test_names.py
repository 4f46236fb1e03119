"""Weight names and layouts of Hugging Face and PaddleNLP."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import arrays_of, classifier
from tests.unit.models.hugging_face import hugging_face_arrays
from tinybert.models.names import _HEADS, _PAIRS, is_hugging_face, to_hugging_face, to_paddle


@pytest.mark.parametrize("prefix", ["bert", "roberta", "tinybert", "model", ""])
@pytest.mark.parametrize("model_type", ["bert", "tinybert", "ernie", "roberta", "electra", "distilbert"])
def test_every_hugging_face_weight_is_mapped_and_transposed(model_type, prefix):
    model = classifier(model_type)
    expected = arrays_of(model)
    found, unknown = to_paddle(hugging_face_arrays(expected, prefix), model.base_model_prefix)
    assert not unknown
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_tensorflow_norm_names_are_mapped():
    arrays = {
        "bert.embeddings.LayerNorm.gamma": np.ones(3),
        "bert.embeddings.LayerNorm.beta": np.zeros(3),
        "bert.encoder.layer.11.output.LayerNorm.gamma": np.full(3, 2.0),
    }
    found, unknown = to_paddle(arrays, "bert")
    assert not unknown
    assert {name: array[0] for name, array in found.items()} == {
        "bert.embeddings.layer_norm.weight": 1,
        "bert.embeddings.layer_norm.bias": 0,
        "bert.encoder.layers.11.norm2.weight": 2,
    }


def test_tinybert_projection_is_mapped_and_transposed():
    arrays = {
        "fit_dense.weight": np.zeros((5, 3)),
        "fit_dense.bias": np.zeros(5),
        "fit_denses.4.weight": np.zeros((5, 3)),
        "bert.encoder.layer.0.attention.self.query.weight": np.zeros((3, 3)),
    }
    found, unknown = to_paddle(arrays, "tinybert")
    assert not unknown
    assert {name: array.shape for name, array in found.items() if "fit" in name} == {
        "tinybert.fit_dense.weight": (3, 5),
        "tinybert.fit_dense.bias": (5,),
        "tinybert.fit_denses.4.weight": (3, 5),
    }


def test_language_model_head_is_not_taken_for_the_classifier():
    arrays = {
        "cls.predictions.bias": np.zeros(4),
        "cls.seq_relationship.weight": np.zeros((2, 3)),
        "bert.embeddings.position_ids": np.zeros((1, 4)),
        "bert.encoder.layer.0.attention.self.query.weight.extra": np.zeros(1),
    }
    found, unknown = to_paddle(arrays, "bert")
    assert list(found) == ["cls.predictions.decoder_bias"]
    assert unknown == list(arrays)[1:]


def test_hugging_face_and_paddle_names_are_distinguished():
    paddle_names = set(arrays_of(classifier("bert")))
    assert not is_hugging_face(paddle_names)
    assert is_hugging_face(set(hugging_face_arrays(arrays_of(classifier("bert")))))


@pytest.mark.parametrize("prefix", ["bert.", ""])
@pytest.mark.parametrize("model_type", ["bert", "tinybert", "ernie", "roberta", "electra", "distilbert"])
def test_every_weight_is_mapped_to_hugging_face(model_type, prefix):
    model = classifier(model_type)
    arrays = arrays_of(model)
    found = to_hugging_face(arrays, prefix)
    expected = hugging_face_arrays(arrays, prefix.removesuffix("."))
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].flags.c_contiguous, name  # safetensors 0.8.0 writes memory in its physical order


def test_every_name_pair_maps_in_both_directions():
    for theirs, ours, transposed in [*_PAIRS, *_HEADS]:
        inside = "tinybert." if (theirs, ours, transposed) in _PAIRS else ""
        name = inside + ours.format(i=12, p="weight", base="tinybert")
        array = np.arange(6).reshape(2, 3)
        there = to_hugging_face({name: array}, "bert.")
        assert list(there) == [("bert." if inside else "") + theirs.format(i=12, p="weight")]
        back, unknown = to_paddle(there, "tinybert")
        assert list(back) == [name] and not unknown
        np.testing.assert_array_equal(back[name], array)


def test_name_without_a_counterpart_raises():
    with pytest.raises(KeyError, match="bert.encoder.layers.0.gate.weight"):
        to_hugging_face({"bert.encoder.layers.0.gate.weight": np.zeros(1)}, "")
