"""Conversion keeps the model in every layout, with head, labels and projections, or writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.tiny import LABELS, SHAPE, WORDS, arrays_of, batch, classifier, logits_of, model_folder
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.cli.main import main
from tinybert.models import exporting
from tinybert.models.families import family
from tinybert.models.loading import load_classifier, load_pretrained
from tinybert.models.projections import Projection
from tinybert.models.torch_zip import read_torch
from tinybert.models.weights import read_pdparams

FIXTURES = Path(__file__).parent / "fixtures"
TYPES = ("bert", "tinybert", "ernie", "roberta", "electra", "distilbert")
PROOF = "verified: largest absolute difference of {} on a fixed batch: 0.0\n"


def convert(source: Path, output: Path, layout: str, *more: str) -> int:
    return main(["convert", "--model_path", str(source), "--output_dir", str(output), "--to", layout, *more])


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


# === Correct exports ===


@pytest.mark.parametrize("labels", [LABELS, ("a", "b", "c"), ()], ids=["two", "three", "regression"])
@pytest.mark.parametrize("model_type", TYPES)
def test_conversion_to_hugging_face_and_back_keeps_the_model(tmp_path, capsys, model_type, labels):
    shape = {"layer_norm_eps": 1e-5} if model_type in ("ernie", "roberta") else {}
    model = model_folder(tmp_path / "a", model_type, labels, **shape)
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 0
    assert convert(tmp_path / "b", tmp_path / "c", "paddlenlp") == 0
    assert capsys.readouterr().out.count(PROOF.format("logits")) == 2
    prefix = {"tinybert": "bert"}.get(model_type, model_type)
    stored, expected = load_file(tmp_path / "b" / "model.safetensors"), hugging_face_arrays(arrays_of(model), prefix)
    assert set(stored) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(stored[name], array, err_msg=name)
    back = load_classifier(str(tmp_path / "c"), labels=labels, needs_head=True)
    assert back.family.model_type == model_type and back.labels == (labels or None)
    np.testing.assert_array_equal(logits_of(back.model, batch()), logits_of(model, batch()))
    theirs = family(model_type).head_class().from_pretrained(str(tmp_path / "c"))
    tolerance = 1e-4 if model_type == "ernie" else 0  # PaddleNLP's ERNIE always uses 1e-12
    np.testing.assert_allclose(logits_of(theirs, batch()), logits_of(model, batch()), atol=tolerance)


@pytest.mark.both_lanes
def test_converted_folder_has_the_hugging_face_layout(tmp_path):
    model_folder(tmp_path / "a")
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 0
    assert {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"} <= {
        entry.name for entry in (tmp_path / "b").iterdir()
    }
    with safe_open(tmp_path / "b" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}  # transformers rejects the file without it
    config = config_of(tmp_path / "b")
    assert config["model_type"] == "bert" and config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "no", "1": "yes"} and config["label2id"] == {"no": 0, "yes": 1}
    assert json.loads((tmp_path / "b" / "tokenizer_config.json").read_text())["tokenizer_class"] == "BertTokenizer"
    assert (tmp_path / "b" / "model.safetensors").stat().st_mode & 0o777 == (tmp_path / "b" / "config.json").stat().st_mode & 0o777


@pytest.mark.parametrize("name", ["bert", "ernie", "tinybert"])
def test_pytorch_weights_survive_a_round_trip_through_paddlenlp(tmp_path, name, capsys):
    # real PyTorch files in both directions: names, orientation and values must be PyTorch's
    assert convert(FIXTURES / name, tmp_path / "b", "paddlenlp") == 0
    assert convert(tmp_path / "b", tmp_path / "c", "huggingface") == 0
    expected = read_torch(FIXTURES / name / "pytorch_model.bin")
    expected = {key.replace("share_fit_dense", "fit_dense"): array for key, array in expected.items() if "position_ids" not in key}
    stored = load_file(tmp_path / "c" / "model.safetensors")
    assert set(stored) == set(expected)
    for key, array in expected.items():
        np.testing.assert_array_equal(stored[key], array, err_msg=key)
    config = config_of(tmp_path / "c")
    original = json.loads(next((FIXTURES / name).glob("*config.json")).read_text())
    for key in ("id2label", "layer_norm_eps", "task_type_vocab_size", "hidden_act", "vocab_size"):
        if key in original and not (key == "id2label" and original[key]["0"] == "LABEL_0"):
            assert config[key] == original[key], key


def test_tinybert_relu_is_recorded_and_reported_on_conversion(tmp_path, capsys):
    assert convert(FIXTURES / "tinybert", tmp_path / "b", "huggingface") == 0
    assert "Hugging Face's BERT does not" in capsys.readouterr().out
    config = config_of(tmp_path / "b")
    assert config["classifier_activation"] == "relu" and config["model_type"] == "bert"
    assert config["architectures"] == ["BertForSequenceClassification"]
    model_folder(tmp_path / "plain", "tinybert")  # without a projection that would identify it
    assert convert(tmp_path / "plain", tmp_path / "c", "huggingface") == 0
    assert load_pretrained(str(tmp_path / "c"))[0].family.model_type == "tinybert"
    model_folder(tmp_path / "bert", "bert")
    assert convert(tmp_path / "bert", tmp_path / "d", "huggingface") == 0
    assert "classifier_activation" not in config_of(tmp_path / "d")


@pytest.mark.parametrize("mode", ["shared", "per_layer"])
@pytest.mark.parametrize("layout", ["huggingface", "paddlenlp"])
def test_conversion_keeps_the_projection_of_a_student(tmp_path, mode, layout):
    projection = Projection(mode, 3, 16, 24)
    model_folder(tmp_path / "a", "tinybert", projection=projection)
    assert convert(tmp_path / "a", tmp_path / "b", layout) == 0
    if layout == "huggingface":
        stored = load_file(tmp_path / "b" / "model.safetensors")
        expected = {name: array.T for name, array in projection.arrays().items()}
    else:
        stored = read_pdparams(tmp_path / "b" / "model_state.pdparams")
        expected = {f"tinybert.{name}": array for name, array in projection.arrays().items()}
        assert config_of(tmp_path / "b")["fit_size"] == 24
        theirs = dict(family("tinybert").head_class().from_pretrained(str(tmp_path / "b")).tinybert.named_parameters())
        for name, array in projection.arrays().items():
            np.testing.assert_array_equal(theirs[name].numpy(), array, err_msg=name)
    for name, array in expected.items():
        np.testing.assert_array_equal(stored[name], array, err_msg=name)


def test_conversion_keeps_both_projections_of_bert_emd(tmp_path, capsys):
    assert convert(FIXTURES / "tinybert", tmp_path / "b", "huggingface") == 0
    assert "projections: shared and per_layer, kept" in capsys.readouterr().out
    assert {"share_fit_dense.weight", "fit_denses.2.bias"} <= set(load_file(tmp_path / "b" / "model.safetensors"))
    assert convert(FIXTURES / "tinybert", tmp_path / "c", "paddlenlp") == 0
    assert "set --projection shared" in capsys.readouterr().out
    assert {"tinybert.fit_dense.weight", "tinybert.fit_denses.2.bias"} <= set(read_pdparams(tmp_path / "c" / "model_state.pdparams"))


@pytest.mark.parametrize("layout", ["huggingface", "paddlenlp"])
@pytest.mark.parametrize(("drop", "output"), [(("classifier",), "pooled output"), (("classifier", "pooler"), "hidden states")])
def test_bare_encoder_converts_without_a_head(tmp_path, capsys, layout, drop, output):
    arrays = hugging_face_arrays(arrays_of(classifier()))
    arrays = {name: array for name, array in arrays.items() if not any(part in name for part in drop)}
    extra = {"cls.predictions.bias": np.zeros(40, "float32"), "cls.predictions.transform.dense.bias": np.zeros(16, "float32")}
    write_folder(tmp_path / "a", arrays | extra, {"model_type": "bert", **SHAPE}, WORDS)
    assert convert(tmp_path / "a", tmp_path / "b", layout) == 0
    out = capsys.readouterr().out
    assert PROOF.format(output) in out and "head: none" in out
    assert "skipped: cls.predictions.decoder_bias, cls.predictions.transform.bias\n" in out and "masked-LM heads are not converted" in out
    assert ("pooler: not in the source" in out) == ("pooler" in drop)
    config = config_of(tmp_path / "b")
    assert config["architectures"] == ["BertModel"] and not {"id2label", "num_labels", "problem_type"} & set(config)
    stored = (
        load_file(tmp_path / "b" / "model.safetensors")
        if layout == "huggingface"
        else read_pdparams(tmp_path / "b" / "model_state.pdparams")
    )
    assert len(stored) == len(arrays) and not any("classifier" in name for name in stored)
    if layout == "paddlenlp":
        theirs = family("bert").encoder.from_pretrained(str(tmp_path / "b"))
        ours = load_pretrained(str(tmp_path / "a"))[0].model.bert
        for name, value in ours.state_dict().items():
            if not any(part in name for part in drop):
                np.testing.assert_array_equal(theirs.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_unnamed_labels_keep_their_numbers(tmp_path):
    write_folder(
        tmp_path / "a",
        hugging_face_arrays(arrays_of(classifier(outputs=5))),
        {"model_type": "bert", **SHAPE, "problem_type": "multi_label_classification"},
        WORDS,
    )
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 0
    config = config_of(tmp_path / "b")
    assert config["id2label"] == {str(i): f"LABEL_{i}" for i in range(5)} and config["problem_type"] == "multi_label_classification"


# === What cannot be exported ===


def test_conversion_whose_outputs_differ_is_not_written(tmp_path, monkeypatch, capsys):
    model_folder(tmp_path / "a")
    original = exporting._outputs
    for error, code in ((2e-6, 2), (float("nan"), 2), (5e-7, 0)):
        seen = []

        def drifting(loaded, output, seen=seen, error=error):
            seen.append(output)
            return original(loaded, output) + (error if len(seen) == 2 else 0)

        monkeypatch.setattr(exporting, "_outputs", drifting)
        assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == code
        assert (tmp_path / "b").exists() == (code == 0)
    assert "the copy gives other logits than its source" in capsys.readouterr().err
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_changed_weight_outside_the_test_batch_is_detected(tmp_path, monkeypatch, capsys):
    model_folder(tmp_path / "a")
    original = exporting.arrays_as

    def changed(loaded, layout):
        arrays = original(loaded, layout)
        arrays["bert.embeddings.position_embeddings.weight"] = arrays["bert.embeddings.position_embeddings.weight"].copy()
        arrays["bert.embeddings.position_embeddings.weight"][-1] += 1
        return arrays

    monkeypatch.setattr(exporting, "arrays_as", changed)
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 2
    assert "other weights (bert.embeddings.position_embeddings.weight)" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_folders_without_a_model_are_never_replaced(tmp_path, capsys):
    model_folder(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for output, words in (
        ("notes", "is not empty"),
        ("file", "is a file"),
        ("a", "which this run would overwrite"),
        (".", "which this run would overwrite"),
    ):
        assert convert(tmp_path / "a", tmp_path / output, "huggingface") == 2
        assert words in capsys.readouterr().err
    assert convert(tmp_path / "a", tmp_path / "notes", "huggingface", "--overwrite_output_dir") == 2
    assert "does not contain a model" in capsys.readouterr().err
    assert (tmp_path / "notes" / "text").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert convert(tmp_path / "a", tmp_path / "empty", "huggingface") == 0
    assert convert(tmp_path / "a", tmp_path / "empty", "paddlenlp") == 2
    assert convert(tmp_path / "a", tmp_path / "empty", "paddlenlp", "--overwrite_output_dir") == 0
    assert not (tmp_path / "empty" / "model.safetensors").exists()


@pytest.mark.parametrize("name", ["reviews.json", "notes.md", "lexicon.txt", "embeddings.bin", ".notes"])
def test_model_folder_with_files_of_the_user_is_not_replaced(tmp_path, capsys, name):
    for folder in ("a", "b"):
        model_folder(tmp_path / folder)
    (tmp_path / "b" / name).write_text("mine")
    before = {path: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface", "--overwrite_output_dir") == 2
    assert f"contains files that this program did not write ({name})" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "b").iterdir()} == before


def test_model_that_hugging_face_cannot_express_is_refused(tmp_path, capsys):
    model_folder(tmp_path / "a", pool_act="linear")
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 2
    assert "compute with tanh and task 0 only" in capsys.readouterr().err and not (tmp_path / "b").exists()
    assert convert(tmp_path / "a", tmp_path / "b", "paddlenlp") == 0


def test_unknown_layout_and_missing_model_are_refused(tmp_path, capsys):
    model_folder(tmp_path / "a")
    assert convert(tmp_path / "a", tmp_path / "b", "onnx") == 2
    assert convert(tmp_path / "none", tmp_path / "b", "paddlenlp") == 2
    assert "Traceback" not in capsys.readouterr().err and not (tmp_path / "b").exists()
