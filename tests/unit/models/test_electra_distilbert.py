"""ELECTRA and DistilBERT: their traces equal PaddleNLP's classes with every head, their folders, pruning, and what they lack."""

from __future__ import annotations

import json

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from tests.tiny import (
    LABELS,
    SHAPE,
    WORDS,
    all_needs,
    arrays_of,
    batch,
    classifier,
    loaded,
    logits_of,
    model_folder,
    own_forward,
    word_pieces,
)
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.cli.main import main
from tinybert.errors import UserError
from tinybert.kinds.registry import get_kind
from tinybert.models.configuration import read_config
from tinybert.models.families import family, family_of_config
from tinybert.models.loading import load_classifier, load_encoder, load_pretrained
from tinybert.models.masked_lm import load_masked_lm
from tinybert.models.saving import save_model
from tinybert.models.trace import Needs, base_of, trace
from tinybert.prune.reduction import Kept, Shape, pruned

TYPES = ("electra", "distilbert")
# Hugging Face's names of the shape of a DistilBERT
PUBLISHED = {
    "dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24, "activation": "relu", "dropout": 0.2, "attention_dropout": 0.1,
    "seq_classif_dropout": 0.3, "qa_dropout": 0.1, "sinusoidal_pos_embds": False, "tie_weights_": True, "vocab_size": len(WORDS),
    "max_position_embeddings": 20, "model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"],
}  # fmt: skip


def without_pooled(layers: int) -> Needs:
    needs = all_needs(layers)
    return Needs(needs.hidden, needs.scores, needs.qkv, False, True)


@pytest.mark.parametrize("head", ["sequence", "token", "span"])
@pytest.mark.parametrize(("model_type", "shape"), [("electra", {"embedding_size": 16}), ("electra", {}), ("distilbert", {})])
def test_trace_matches_the_class_of_paddlenlp_with_every_head(model_type, shape, head, tmp_path):
    kind = {"sequence": None, "token": get_kind("token_classification"), "span": get_kind("question_answering")}[head]
    labels = () if head == "span" else LABELS
    model = classifier(model_type, 2, head=head, **shape)
    save_model(tmp_path, model, family(model_type), word_pieces(), labels, head_config=kind.head_config(labels) if kind else None)
    theirs = family(model_type).head_class(head).from_pretrained(str(tmp_path))
    theirs.eval()
    inputs = batch()
    with paddle.no_grad():
        found, own = trace(model, inputs, without_pooled(3)), own_forward(theirs, inputs)
    own = paddle.stack(own, axis=-1) if head == "span" else own
    assert hasattr(base_of(model), "embeddings_project") == (model_type == "electra" and not shape)
    assert float((found.logits - own).abs().max()) <= 1e-6


@pytest.mark.parametrize("model_type", TYPES)
def test_hidden_states_and_scores_match_the_encoder_of_paddlenlp(model_type):
    model, inputs = classifier(model_type), batch()
    base = base_of(model)
    with paddle.no_grad():
        found = trace(model, inputs, without_pooled(3))
        first = base.embeddings(inputs.input_ids)
        if model_type == "electra":
            first = base.embeddings_project(base.embeddings(inputs.input_ids, inputs.token_type_ids))
        mask = ((1.0 - inputs.attention_mask) * -1e4).unsqueeze([1, 2])
        own = base.encoder(first, mask, output_hidden_states=True, output_attentions=True, return_dict=True)
    for entry, states in enumerate(own.hidden_states):
        assert float((found.hidden[entry] - states).abs().max()) <= 1e-6
    for layer, weights in enumerate(own.attentions):
        assert float((F.softmax(found.scores[layer]) - weights).abs().max()) <= 1e-6


def test_float_mask_of_zeros_and_ones_hides_nothing_in_electra():
    model, inputs = classifier("electra"), batch()
    with paddle.no_grad():
        masks = {name: inputs.attention_mask.astype(name) for name in ("int64", "bool", "float32")}
        by_type = {name: model(inputs.input_ids, attention_mask=mask) for name, mask in masks.items()}
        none = model(inputs.input_ids, attention_mask=paddle.ones_like(inputs.attention_mask).astype("int64"))
    np.testing.assert_allclose(by_type["bool"].numpy(), by_type["int64"].numpy(), atol=1e-6)
    difference = float((by_type["float32"] - by_type["int64"]).abs().max())
    assert difference > 1e-2
    whole = inputs.attention_mask.numpy().all(1)
    np.testing.assert_allclose(none.numpy()[whole], by_type["float32"].numpy()[whole], atol=1e-5)


def test_published_distilbert_is_read_by_its_own_keys_and_names(tmp_path):
    model = classifier("distilbert", hidden_act="relu")
    write_folder(tmp_path / "hf", hugging_face_arrays(arrays_of(model), "distilbert"), PUBLISHED, WORDS)
    found = load_classifier(str(tmp_path / "hf"), labels=LABELS, needs_head=True)
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(model, batch()))
    config = found.config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob, config.classifier_dropout) == (0.2, 0.1, 0.3)
    convert = ("convert", "--model_path", str(tmp_path / "hf"), "--output_dir")
    assert main([*convert, str(tmp_path / "again"), "--to", "huggingface"]) == 0
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {key: again.get(key) for key in ("dim", "n_layers", "n_heads", "hidden_dim", "activation")} == {
        key: PUBLISHED[key] for key in ("dim", "n_layers", "n_heads", "hidden_dim", "activation")
    }
    assert not {"hidden_size", "num_hidden_layers"} & set(again)
    assert read_config(tmp_path / "again")["hidden_size"] == 16


@pytest.mark.parametrize("model_type", TYPES)
def test_encoder_is_loaded_without_any_part_of_a_head(model_type, tmp_path):
    model = model_folder(tmp_path / "m", model_type)
    found = load_encoder(str(tmp_path / "m"))
    assert not found.report.fresh and all("classifier" in name for name in found.report.unused)
    assert not [name for name, _ in found.model.named_parameters() if "classifier" in name]
    found.model.eval()
    inputs = batch()
    with paddle.no_grad():
        states = [trace(each, inputs, Needs(hidden=frozenset({3}))).hidden[3].numpy() for each in (model, found.model)]
    np.testing.assert_array_equal(*states)
    with pytest.raises(UserError, match="has no pooler, whose output a loss needs"):
        trace(found.model, inputs, Needs(pooled=True))
    assert main(["convert", "--model_path", str(tmp_path / "m"), "--output_dir", str(tmp_path / "hf"), "--to", "huggingface"]) == 0


def test_teacher_without_its_pre_classifier_is_refused(tmp_path):
    arrays = {name: array for name, array in hugging_face_arrays(arrays_of(classifier("distilbert"))).items() if "pre_" not in name}
    write_folder(tmp_path, arrays, PUBLISHED, WORDS)
    with pytest.raises(UserError, match=r"lacks 2 weights of its head \(pre_classifier"):
        load_classifier(str(tmp_path), labels=LABELS, needs_head=True, role="teacher")


def test_electra_without_its_embedding_projection_is_refused(tmp_path):
    arrays = hugging_face_arrays(arrays_of(classifier("electra")), "electra")
    arrays = {name: array for name, array in arrays.items() if "project" not in name}
    write_folder(tmp_path, arrays, {**SHAPE, "model_type": "electra", "embedding_size": 8}, WORDS)
    with pytest.raises(UserError, match=r"lacks 2 weights of the encoder \(electra.embeddings_project"):
        load_pretrained(str(tmp_path))


@pytest.mark.parametrize("model_type", TYPES)
def test_pruned_model_has_the_kept_parts_and_reloads(model_type, tmp_path):
    model = loaded(model_type)
    rank = 4
    every = Kept((np.arange(2),) * 3, (np.arange(24),) * 3)
    same, energy = pruned(model, Shape((1, 2, 3), 2, 24, None), every)
    np.testing.assert_array_equal(logits_of(same.model, batch()), logits_of(model.model, batch()))
    smaller, energy = pruned(model, Shape((1, 3), 1, 8, rank), Kept((np.array([1]),) * 2, (np.arange(8),) * 2))
    assert 0 < energy < 1 and smaller.parameters() < model.parameters()
    save_model(tmp_path, smaller.model, smaller.family, smaller.tokenizer, LABELS)
    again = load_classifier(str(tmp_path), labels=LABELS, needs_head=True)
    np.testing.assert_array_equal(logits_of(again.model, batch()), logits_of(smaller.model, batch()))
    assert main(["convert", "--model_path", str(tmp_path), "--output_dir", str(tmp_path / "hf"), "--to", "huggingface"]) == 2


@pytest.mark.parametrize("model_type", TYPES)
def test_masked_lm_head_of_another_form_is_refused(model_type, tmp_path):
    model_folder(tmp_path, model_type)
    with pytest.raises(UserError, match=f"is a {family(model_type).stem}, whose masked-LM head has another form"):
        load_masked_lm(str(tmp_path), fresh_head=True)


def test_older_folders_of_electra_are_recognised_by_their_class():
    config = {"init_class": "ElectraDiscriminator", "hidden_size": 16, "num_hidden_layers": 2}
    assert family_of_config(config, "here") is family("electra")
