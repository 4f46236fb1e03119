"""Models with pruned heads and a factorised embedding: building, tracing, saving, loading and converting."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest

from tests.tiny import LABELS, SHAPE, all_needs, arrays_of, batch, classifier, loaded, logits_of, model_folder, replace_weights
from tests.unit.models.hugging_face import hugging_face_arrays
from tinybert.cli.main import main
from tinybert.errors import UserError
from tinybert.models.configuration import architecture
from tinybert.models.families import family
from tinybert.models.loading import build, load_classifier
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.models.students import student_from_teacher
from tinybert.models.trace import base_of, trace
from tinybert.models.weights import read_pdparams

CUT = {"num_attention_heads": 3, "attention_head_size": 4, "intermediate_size": 7, "embedding_rank": 5}
TYPES = ("bert", "tinybert", "ernie", "roberta")


@pytest.mark.parametrize("model_type", TYPES)
def test_trace_of_a_pruned_model_matches_its_forward(model_type):
    model = classifier(model_type, **CUT)
    inputs = batch()
    with paddle.no_grad():
        found = trace(model, inputs, all_needs(3))
    np.testing.assert_array_equal(found.logits.numpy(), logits_of(model, inputs))
    assert found.scores[0].shape[1] == 3 and found.query[2].shape[-1] == 4 and found.hidden[0].shape[-1] == 16


@pytest.mark.parametrize("model_type", TYPES)
def test_pruned_model_is_unchanged_by_saving_and_loading(tmp_path, model_type):
    model = model_folder(tmp_path / "model", model_type, **CUT)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert {name: config[name] for name in CUT} == CUT and config["hidden_size"] == 16
    again = load_classifier(str(tmp_path / "model"), labels=LABELS, needs_head=True)
    assert not again.report.fresh and not again.report.unused
    np.testing.assert_array_equal(logits_of(again.model, batch()), logits_of(model, batch()))
    assert describe_architecture(again.config) == "3 x 16, 3 heads of 4, feed-forward 7, embedding of rank 5"


def test_attention_head_size_is_omitted_where_heads_fill_the_width():
    assert "attention_head_size" not in architecture({**SHAPE, "attention_head_size": 8}, "here")
    assert describe_architecture(classifier(attention_head_size=8).bert.config) == "3 x 16, 2 heads"


def test_missing_embedding_factor_is_refused(tmp_path):
    model_folder(tmp_path, **CUT)
    arrays = read_pdparams(tmp_path / "model_state.pdparams")
    del arrays["bert.embeddings.word_embeddings.up.weight"]
    replace_weights(tmp_path, arrays)
    with pytest.raises(UserError, match=r"lacks 1 weights of the encoder \(bert.embeddings.word_embeddings.up.weight\)"):
        load_classifier(str(tmp_path), labels=LABELS, needs_head=True)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"embedding_rank": 17}, "'embedding_rank' in config.json is 17; expected at most hidden_size, 16"),
        ({"embedding_rank": 0}, "'embedding_rank' in config.json is 0; expected a whole number from 1"),
        ({"attention_head_size": 9}, r"2 heads of 9 \('attention_head_size'\) are wider than hidden_size 16"),
        ({"attention_head_size": "4"}, "'attention_head_size' in config.json is '4'"),
        ({"num_attention_heads": 3}, "hidden_size 16 is not a multiple of num_attention_heads 3"),
    ],
)
def test_impossible_pruned_shapes_are_refused(more, message):
    with pytest.raises(UserError, match=message):
        architecture({**SHAPE, **more}, "here")


def test_folder_of_the_published_pruning_script_loads(tmp_path):
    model = model_folder(tmp_path, **CUT)
    theirs = {
        name.replace("word_embeddings.weight", "word_embeddings1.weight").replace("word_embeddings.up", "word_embeddings2"): array
        for name, array in hugging_face_arrays({n: a for n, a in arrays_of(model).items() if ".up." not in n}, "bert").items()
    }
    theirs["bert.embeddings.word_embeddings2.weight"] = arrays_of(model)["bert.embeddings.word_embeddings.up.weight"].T
    replace_weights(tmp_path, theirs)
    config = {name: value for name, value in SHAPE.items() if name != "num_attention_heads"}
    published = {"num_attention_heads": 3, "prun_hidden_size": 12, "prun_intermediate_size": 7, "emb_hidden_dim": 5}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", **config, **published}))
    again = load_classifier(str(tmp_path), labels=LABELS, needs_head=True)
    np.testing.assert_array_equal(logits_of(again.model, batch()), logits_of(model, batch()))


def test_layers_of_a_pruned_teacher_make_a_student():
    teacher = loaded(**CUT)
    student = student_from_teacher(teacher, (1, 3), outputs=2)
    assert describe_architecture(student.config) == "2 x 16, 3 heads of 4, feed-forward 7, embedding of rank 5"
    source = arrays_of(teacher.model)
    np.testing.assert_array_equal(
        arrays_of(student.model)["bert.encoder.layers.1.linear1.weight"], source["bert.encoder.layers.2.linear1.weight"]
    )


def test_pruned_model_converts_to_paddlenlp_but_not_to_hugging_face(tmp_path, capsys):
    model = model_folder(tmp_path / "a", **CUT)
    line = ["convert", "--model_path", str(tmp_path / "a"), "--output_dir"]
    assert main([*line, str(tmp_path / "b"), "--to", "paddlenlp"]) == 0
    again = load_classifier(str(tmp_path / "b"), labels=LABELS, needs_head=True)
    np.testing.assert_array_equal(logits_of(again.model, batch()), logits_of(model, batch()))
    assert main([*line, str(tmp_path / "c"), "--to", "huggingface"]) == 2
    assert "this model is pruned (3 x 16, 3 heads of 4" in capsys.readouterr().err and not (tmp_path / "c").exists()


@pytest.mark.parametrize(("layers", "neurons", "expected"), [(6, 768, 14_465_282), (8, 512, 14_474_754)])
def test_pruned_models_have_the_published_parameter_counts(layers, neurons, expected):
    base = {"vocab_size": 30522, "hidden_size": 768, "max_position_embeddings": 512, "type_vocab_size": 2}
    cut = {"num_hidden_layers": layers, "num_attention_heads": 2, "attention_head_size": 64, "intermediate_size": neurons}
    model = build(family("bert"), {**base, **cut, "embedding_rank": 128}, 2, "here")
    assert sum(int(np.prod(parameter.shape)) for parameter in model.parameters()) == expected
    assert base_of(model).embeddings.word_embeddings.weight.shape == [30522, 128]
