"""Folders as published: every config file is understood, the right class is chosen, and PyTorch's numbers are reproduced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.tiny import LABELS, SHAPE, WORDS, arrays_of, batch, classifier, logits_of, model_folder
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.errors import UserError
from tinybert.models.configuration import labels_of, read_config
from tinybert.models.families import family_of_folder
from tinybert.models.hub import resolve
from tinybert.models.loading import load_classifier, load_pretrained
from tinybert.models.projections import layouts_of
from tinybert.models.trace import Inputs, Needs, trace

FIXTURES = Path(__file__).parent / "fixtures"
NLI = ("entailment", "neutral", "contradiction")


def outputs_of(model, folder: Path) -> tuple[np.ndarray, np.ndarray, np.lib.npyio.NpzFile]:
    """Pooled output and logits for the batch of a fixture, and PyTorch's values."""
    stored = np.load(folder / "outputs.npz")
    inputs = Inputs(*(paddle.to_tensor(stored[name]) for name in ("ids", "segments")), paddle.to_tensor(stored["mask"].astype("float32")))
    model.eval()
    with paddle.no_grad():
        found = trace(model, inputs, Needs(pooled=True, logits=True))
    return found.pooled.numpy(), found.logits.numpy(), stored


@pytest.mark.parametrize(("name", "logits"), [("bert", "logits"), ("ernie", "logits"), ("tinybert", "logits_after_relu")])
def test_pytorch_model_gives_pytorchs_numbers(name, logits):
    loaded, _ = load_pretrained(str(FIXTURES / name))
    assert loaded.family.model_type == name
    assert not loaded.report.fresh
    assert all("position_ids" in left for left in loaded.report.unused)
    pooled, found, stored = outputs_of(loaded.model, FIXTURES / name)
    np.testing.assert_allclose(pooled, stored["pooled"], atol=2e-6)
    np.testing.assert_allclose(found, stored[logits], atol=2e-6)
    assert np.abs(stored["logits"] - stored["logits_after_relu"]).max() > 0.1


def test_ernie_layer_norm_uses_the_epsilon_of_its_config():
    # PaddleNLP's class always uses 1e-12; Hugging Face's ERNIE has 1e-5
    loaded, config = load_pretrained(str(FIXTURES / "ernie"))
    assert config["layer_norm_eps"] == 1e-5
    norms = [layer for layer in loaded.model.sublayers() if isinstance(layer, paddle.nn.LayerNorm)]
    assert len(norms) == 3 and {norm._epsilon for norm in norms} == {1e-5}


def test_both_projections_of_bert_emd_are_available():
    loaded, _ = load_pretrained(str(FIXTURES / "tinybert"))
    assert layouts_of(loaded.projections) == ("shared", "per_layer")
    assert {name: array.shape for name, array in loaded.projections.items() if "weight" in name} == {
        "share_fit_dense.weight": (8, 10),
        **{f"fit_denses.{i}.weight": (8, 10) for i in range(3)},
    }
    assert not any("fit_dense" in name for name in loaded.report.unused)


# === Which class ===


@pytest.mark.parametrize(
    ("config", "weights", "expected", "reason"),
    [
        ({"hidden_size": 1, "num_hidden_layers": 1, "pre_trained": ""}, ["fit_denses.0.weight"], "tinybert", "has fit_denses.0.weight"),
        ({"hidden_size": 1, "num_hidden_layers": 1}, ["fit_dense.bias"], "tinybert", "has fit_dense.bias"),
        ({"model_type": "bert"}, ["bert.x", "share_fit_dense.weight"], "tinybert", "has share_fit_dense.weight"),
        ({"model_type": "bert", "architectures": ["TinyBertForPreTraining"]}, [], "tinybert", "names TinyBertForPreTraining"),
        ({"model_type": "bert", "classifier_activation": "relu"}, [], "tinybert", "classifier_activation"),
        ({"model_type": "bert", "classifier_activation": "tanh"}, [], "bert", "model_type is bert"),
        ({"hidden_size": 1, "num_hidden_layers": 1, "pre_trained": ""}, ["bert.x"], "bert", "no model_type"),
        ({"model_type": "bert", "architectures": None}, ["outfit_dense.weight"], "bert", "model_type is bert"),
        ({"model_type": "ernie"}, ["fit_dense.weight"], "ernie", "model_type is ernie"),
        ({"init_class": "ErnieForSequenceClassification"}, [], "ernie", "names ErnieForSequenceClassification"),
        ({"architectures": ["BertLMHeadModel"]}, [], "bert", "names BertLMHeadModel"),
    ],
)
def test_family_of_a_folder_is_inferred_with_a_reason(config, weights, expected, reason):
    kind, why = family_of_folder(config, weights, "here")
    assert kind.model_type == expected and reason in why


@pytest.mark.parametrize("architecture", ["ErnieGramForSequenceClassification", "ErnieMModel", "BertGenerationEncoder"])
def test_relatives_of_supported_encoders_are_refused(architecture):
    with pytest.raises(UserError, match="does not describe"):
        family_of_folder({"architectures": [architecture]}, [], "here")


def test_report_names_the_family_and_its_reason(tmp_path):
    model_folder(tmp_path / "m", "tinybert")
    assert str(load_pretrained(str(tmp_path / "m"))[0].report).endswith("; read as tinybert: model_type is tinybert")
    report = str(load_pretrained(str(FIXTURES / "tinybert"))[0].report)
    assert report.endswith("; read as tinybert: its file has fit_denses.0.bias, which BERT does not have")


# === Which files ===

NESTED = {
    "init_args": [{"init_args": [], **SHAPE, "init_class": "BertModel"}, 2],
    "num_classes": 2,
    "dropout": None,
    "init_class": "BertForSequenceClassification",
}


@pytest.mark.parametrize("name", ["config.json", "bert_config.json", "model_config.json"])
def test_config_under_its_older_names_is_found(tmp_path, name):
    model = model_folder(tmp_path / "run" / "best_model")
    folder = tmp_path / "run" / "best_model"
    text = json.dumps(NESTED) if name == "model_config.json" else (folder / "config.json").read_text()
    (folder / "config.json").unlink()
    (folder / name).write_text(text)
    assert resolve(str(tmp_path / "run")) == resolve(str(folder)) == folder
    found = load_classifier(str(folder), labels=LABELS, needs_head=True)
    assert found.family.model_type == "bert"
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(model, batch()))


def test_nested_config_of_older_paddlenlp_is_flattened(tmp_path):
    deep = {"init_args": [{"init_args": [{"hidden_size": 3, "init_class": "A"}], "hidden_size": 4}], "init_class": "B", "num_classes": 2}
    (tmp_path / "model_config.json").write_text(json.dumps(deep))
    assert read_config(tmp_path) == {"hidden_size": 4, "init_class": "B", "num_classes": 2}


@pytest.mark.parametrize("text", ["{", "[1]", '{"a":' * 100000], ids=["broken", "list", "deep"])
@pytest.mark.parametrize("name", ["bert_config.json", "model_config.json"])
def test_broken_config_under_its_older_names_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"{name} (is not valid JSON|holds a list)"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["vocab.json", "merges.txt"], "vocab.json cannot be read by the library tokenizers"),
        (["sentencepiece.bpe.model"], "SentencePiece"),
        (["tokenizer.json"], "tokenizer.json cannot be read by the library tokenizers"),
        ([], "vocab.txt does not exist"),
    ],
)
def test_unsupported_tokenizer_is_refused_by_its_kind(tmp_path, files, words):
    write_folder(tmp_path, hugging_face_arrays(arrays_of(classifier("roberta"))), {"model_type": "roberta", **SHAPE}, WORDS)
    (tmp_path / "vocab.txt").unlink()
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError, match=words):
        load_pretrained(str(tmp_path))


def test_incomplete_head_is_refused(tmp_path):
    arrays = hugging_face_arrays(arrays_of(classifier()))
    for part in ("classifier.bias", "pooler.dense.weight"):
        kept = {name: array for name, array in arrays.items() if part not in name}
        write_folder(tmp_path, kept, {"model_type": "bert", **SHAPE}, WORDS)
        with pytest.raises(UserError, match=r"lacks 1 weights of its head .*" + part):
            load_pretrained(str(tmp_path))


def test_label_order_is_kept_unless_a_task_asks_for_another(tmp_path):
    shutil.copytree(FIXTURES / "bert", tmp_path / "m")
    loaded, config = load_pretrained(str(tmp_path / "m"))
    assert loaded.labels == labels_of(config) == NLI
    other = load_classifier(str(tmp_path / "m"), labels=NLI[::-1], needs_head=True)
    np.testing.assert_array_equal(outputs_of(other.model, tmp_path / "m")[1], outputs_of(loaded.model, tmp_path / "m")[1][:, ::-1])
