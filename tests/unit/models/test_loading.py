"""Loading a classifier: equal numbers from every kind of folder, every parameter reported."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.tiny import LABELS, SHAPE, WORDS, arrays_of, batch, classifier, logits_of, model_folder, replace_weights
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.errors import UserError
from tinybert.models.families import family, family_of_config
from tinybert.models.loading import labels_of, load_classifier
from tinybert.models.projections import Projection, layout_of
from tinybert.models.weights import read_pdparams

TYPES = ("bert", "tinybert", "ernie", "roberta")


def load(folder, labels=LABELS, needs_head=False, **more):
    return load_classifier(str(folder), labels=labels, needs_head=needs_head, **more)


def hugging_face(folder, model_type="bert", kind="float32", drop=(), add=None, config=None):
    """A Hugging Face folder with the weights of a tiny classifier, and the weights after rounding."""
    arrays = hugging_face_arrays(arrays_of(classifier(model_type)))
    arrays = {name: array for name, array in arrays.items() if not any(part in name for part in drop)} | (add or {})
    return write_folder(folder, arrays, {"model_type": model_type, **SHAPE, **(config or {})}, WORDS, kind)


# === Hugging Face folders ===


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_hugging_face_folder_gives_the_logits_of_its_weights(tmp_path, model_type, kind):
    narrowed = hugging_face(tmp_path, model_type, kind)
    found = load(tmp_path, needs_head=True)
    expected = classifier(model_type)
    for name, parameter in expected.state_dict().items():
        (theirs,) = hugging_face_arrays({name: np.zeros(parameter.shape)})
        array = narrowed[theirs]
        parameter.set_value(array.T if array.ndim == 2 and "embeddings" not in name else array)
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(expected, batch()))
    assert all(str(parameter.dtype).endswith("float32") for parameter in found.model.parameters())
    assert (np.abs(logits_of(expected, batch()) - logits_of(classifier(model_type), batch())).max() == 0) == (kind == "float32")


def test_report_lists_fresh_and_unused_parameters(tmp_path):
    extra = {"cls.predictions.bias": np.zeros(40, "float32"), "bert.embeddings.position_ids": np.arange(20)[None].astype("float32")}
    hugging_face(tmp_path, drop=("classifier", "pooler"), add=extra)
    report = load(tmp_path).report
    assert sorted(report.fresh) == ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    assert sorted(report.unused) == ["bert.embeddings.position_ids", "cls.predictions.decoder_bias"]
    assert len(report.loaded) == len(arrays_of(classifier())) - 4
    shown = str(report)
    assert shown.startswith(f"{tmp_path}/model.safetensors: {len(report.loaded)} parameters loaded, 4 fresh (")
    assert "2 unused (" in shown and all(name in shown for name in [*report.fresh, *report.unused])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "macbert"}, "bert"),
        ({"model_type": "ernie"}, "ernie"),
        ({"architectures": ["TinyBertForSequenceClassification"]}, "tinybert"),
        ({"architectures": ["BertForMaskedLM"]}, "bert"),
        ({"init_class": "RobertaModel"}, "roberta"),
        ({"hidden_size": 3, "num_hidden_layers": 4}, "bert"),  # Huawei's TinyBERT on the hub has no model_type
    ],
)
def test_family_is_inferred_from_the_config(config, expected):
    assert family_of_config(config, "here").model_type == expected


@pytest.mark.parametrize("config", [{}, {"model_type": "gpt2"}, {"model_type": "t5", "hidden_size": 3, "num_hidden_layers": 4}])
def test_unsupported_architecture_is_refused(config):
    with pytest.raises(UserError, match=r"is not supported|does not describe"):
        family_of_config(config, "here")


# === PaddleNLP folders ===


@pytest.mark.parametrize("labels", [LABELS, ("a", "b", "c"), ()], ids=["two", "three", "regression"])
@pytest.mark.parametrize("model_type", TYPES)
def test_saved_folder_loads_unchanged(tmp_path, model_type, labels):
    model = model_folder(tmp_path / "m", model_type, labels)
    found = load(tmp_path / "m", labels, needs_head=True)
    assert found.family.model_type == model_type
    assert not found.report.fresh and not found.report.unused
    assert found.labels == (labels or None)
    assert found.tokenizer.vocabulary == WORDS
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(model, batch()))


@pytest.mark.parametrize("labels", [LABELS, ("a", "b", "c"), ()], ids=["two", "three", "regression"])
@pytest.mark.parametrize("model_type", TYPES)
def test_paddlenlp_reads_our_folder_unchanged(tmp_path, model_type, labels):
    model = model_folder(tmp_path / "m", model_type, labels)
    theirs = family(model_type).head_class().from_pretrained(str(tmp_path / "m"))
    np.testing.assert_array_equal(logits_of(theirs, batch()), logits_of(model, batch()))


@pytest.mark.parametrize("mode", ["shared", "per_layer"])
def test_paddlenlp_reads_the_projection_of_our_folder(tmp_path, mode):
    projection = Projection(mode, 3, 16, 24)
    model_folder(tmp_path / "m", "tinybert", projection=projection)
    theirs = family("tinybert").head_class().from_pretrained(str(tmp_path / "m"))
    names = dict(theirs.tinybert.named_parameters())
    for name, array in projection.arrays().items():
        np.testing.assert_array_equal(names[name].numpy(), array, err_msg=name)


@pytest.mark.parametrize("model_type", TYPES)
def test_paddlenlp_folder_loads_unchanged(tmp_path, model_type):
    kind = family(model_type)
    theirs = kind.head_class()(kind.config(**SHAPE, num_labels=3))
    theirs.save_pretrained(str(tmp_path))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    found = load(tmp_path, ("a", "b", "c"), needs_head=True)
    assert not found.report.fresh and not found.report.unused
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(theirs, batch()))
    assert (layout_of(found.projections) == "per_layer") == (model_type == "tinybert")


def test_bare_paddlenlp_encoder_loads_with_a_fresh_head(tmp_path):
    kind = family("bert")
    encoder = kind.encoder(kind.config(**SHAPE))
    encoder.save_pretrained(str(tmp_path))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    found = load(tmp_path)
    assert found.report.fresh == ["classifier.weight", "classifier.bias"]
    np.testing.assert_array_equal(
        found.model.bert.embeddings.word_embeddings.weight.numpy(), encoder.embeddings.word_embeddings.weight.numpy()
    )


# === Projections in checkpoints ===


def fit(names: list[str], width: int = 24) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    shapes = {"weight": (width, 16), "bias": (width,)}
    return {f"{name}.{kind}": random.standard_normal(shape).astype("float32") for name in names for kind, shape in shapes.items()}


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["fit_dense"], "shared"),
        ([f"fit_denses.{i}" for i in range(4)], "per_layer"),
        (["fit_dense", *(f"fit_denses.{i}" for i in range(4))], "per_layer"),
        ([], None),
    ],
    ids=["fit_dense", "fit_denses", "both", "neither"],
)
@pytest.mark.parametrize("spelling", ["hugging face", "paddle"])
def test_projection_layouts_are_distinguished_and_loaded(tmp_path, names, layout, spelling):
    weights = fit(names)
    if spelling == "hugging face":
        hugging_face(tmp_path, "tinybert", add=weights)
    else:
        model_folder(tmp_path, "tinybert")
        transposed = {f"tinybert.{name}": array.T if array.ndim == 2 else array for name, array in weights.items()}
        replace_weights(tmp_path, read_pdparams(tmp_path / "model_state.pdparams") | transposed)
    found = load(tmp_path)
    assert layout_of(found.projections) == layout
    assert set(found.projections) == set(weights)
    assert not found.report.unused
    if layout is None:
        return
    projection = Projection(layout, 3, 16, 24)
    projection.load(found.projections)
    for name, array in projection.arrays().items():
        np.testing.assert_array_equal(array, weights[name].T if array.ndim == 2 else weights[name], err_msg=name)


def test_projection_is_not_counted_as_part_of_the_student(tmp_path):
    # PaddleNLP's class keeps both kinds inside the encoder and counts them as the student's parameters
    hugging_face(tmp_path, "tinybert", add=fit(["fit_dense"]))
    found = load(tmp_path)
    assert not any("fit_dense" in name for name, _ in found.model.named_parameters())
    assert found.parameters() == sum(array.size for array in arrays_of(classifier("tinybert")).values())


# === Rejected folders ===


def change(folder, edit) -> None:
    """Rewrite the weights of a Hugging Face folder."""
    arrays = load_file(folder / "model.safetensors")
    edit(arrays)
    save_file(arrays, folder / "model.safetensors")


def test_missing_encoder_weight_is_refused(tmp_path):
    hugging_face(tmp_path)
    change(tmp_path, lambda arrays: arrays.pop("bert.encoder.layer.1.output.dense.weight"))
    with pytest.raises(UserError, match=r"lacks 1 weights of the encoder \(bert.encoder.layers.1.linear2.weight\)"):
        load(tmp_path, role="student")


@pytest.mark.parametrize("part", ["pooler", "classifier.bias"])
def test_teacher_with_an_incomplete_head_is_refused(tmp_path, part):
    hugging_face(tmp_path, drop=(part,))
    with pytest.raises(UserError, match="lacks .* of its head"):
        load(tmp_path, needs_head=True, role="teacher")


def test_wrong_shape_is_refused_with_the_weight_name(tmp_path):
    hugging_face(tmp_path, config={"intermediate_size": 32})
    with pytest.raises(
        UserError, match=r"'bert.encoder.layers.0.linear1.weight' has shape \[16, 24\], but config.json requires \[16, 32\]"
    ):
        load(tmp_path)


def test_extra_layers_in_the_file_are_reported_as_unused(tmp_path):
    hugging_face(tmp_path, config={"num_hidden_layers": 2})
    unused = load(tmp_path).report.unused
    assert len(unused) == 16 and all("encoder.layers.2." in name for name in unused)


def test_teacher_without_a_head_is_refused(tmp_path):
    hugging_face(tmp_path, drop=("classifier",))
    with pytest.raises(UserError, match=r"the teacher .* has no trained classifier: it was pre-trained.*\n.*tinybert finetune"):
        load(tmp_path, needs_head=True, role="teacher")
    assert set(load(tmp_path).report.fresh) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_teacher_of_another_task_is_refused(tmp_path, model_type):
    hugging_face(tmp_path, model_type)
    with pytest.raises(UserError, match=r"has 2 outputs, but the task has 3 labels \(a, b, c\)"):
        load(tmp_path, ("a", "b", "c"), needs_head=True)
    with pytest.raises(UserError, match=r"has 2 outputs, but the task has one score \(regression\)"):
        load(tmp_path, (), needs_head=True)


def test_student_gets_a_fresh_head_for_another_task(tmp_path):
    hugging_face(tmp_path)
    found = load(tmp_path, ("a", "b", "c"))
    assert set(found.report.fresh) == {"classifier.weight", "classifier.bias"}
    assert logits_of(found.model, batch()).shape == (3, 3)


@pytest.mark.parametrize("name", ["model_state.pdparams", "model.safetensors"])
def test_truncated_weights_are_refused(tmp_path, name):
    if name.endswith("safetensors"):
        hugging_face(tmp_path)
    else:
        model_folder(tmp_path)
        (tmp_path / "manifest.json").unlink()
    data = (tmp_path / name).read_bytes()
    for size in (5, len(data) // 2, len(data) - 4):
        (tmp_path / name).write_bytes(data[:size])
        with pytest.raises(UserError, match=f"{name} cannot be read as .*truncated"):
            load(tmp_path)


def test_malicious_teacher_weights_are_not_executed(tmp_path):
    model_folder(tmp_path / "m")
    trap = tmp_path / "executed"

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {trap}",)

    (tmp_path / "m" / "model_state.pdparams").write_bytes(pickle.dumps({"classifier.weight": Payload()}))
    (tmp_path / "m" / "manifest.json").unlink()
    with pytest.raises(UserError, match="is refused: it refers to .*system"):
        load(tmp_path / "m", needs_head=True)
    assert not trap.exists()


def test_vocabulary_larger_than_the_embedding_is_refused(tmp_path):
    hugging_face(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "one more"]))
    with pytest.raises(UserError, match="vocab.txt has 41 tokens, but the embedding only 40 rows"):
        load(tmp_path)


def test_vocabulary_smaller_than_the_embedding_is_accepted(tmp_path):
    # published embeddings are often padded to a round number of rows
    hugging_face(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS[:-3]))
    assert load(tmp_path).tokenizer.vocab_size == 37


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "holds a list; expected a JSON object"),
        ('{"model_type": "bert", "hidden_size": 16}', "'vocab_size' is missing in config.json"),
        (json.dumps({"model_type": "bert", **SHAPE, "vocab_size": "40"}), "'vocab_size' in config.json is '40'; expected a whole number"),
        (json.dumps({"model_type": "bert", **SHAPE, "num_attention_heads": 3}), "16 is not a multiple of num_attention_heads 3"),
        (json.dumps({"model_type": "bert", **SHAPE, "hidden_act": "no such function"}), "'hidden_act' .* expected one of gelu, relu, tanh"),
    ],
)
def test_broken_config_is_refused_with_a_message(tmp_path, text, words):
    hugging_face(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=words):
        load(tmp_path)


def test_label_names_follow_the_output_order():
    # MNLI's order differs between projects: the names must follow the outputs
    assert labels_of({"id2label": {"2": "c", "0": "a", "10": "z", "1": "b"}}) == ("a", "b", "c", "z")
    assert labels_of({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}) is None
    assert labels_of({}) is None and labels_of({"id2label": {"x": "a"}}) is None


# === Label order ===

MNLI = ("contradiction", "entailment", "neutral")


@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_logits_are_reordered_to_the_tasks_label_order(tmp_path, model_type):
    # Hugging Face's MNLI order differs from GLUE's (issue 229 of the published TinyBERT)
    theirs = ("ENTAILMENT", "neutral", "contradiction")
    model = model_folder(tmp_path, model_type, theirs)
    found = load(tmp_path, MNLI, needs_head=True, role="teacher")
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(model, batch())[:, [2, 0, 1]])


def test_teacher_in_the_right_order_or_without_names_is_unchanged(tmp_path, capsys):
    for name, labels in (("named", MNLI), ("numbered", ("LABEL_0", "LABEL_1", "LABEL_2"))):
        model = model_folder(tmp_path / name, labels=labels)
        found = load(tmp_path / name, MNLI, needs_head=True)
        np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(model, batch()))
    assert not capsys.readouterr().out


def test_teacher_with_label_names_of_another_task_is_refused(tmp_path):
    model_folder(tmp_path, labels=("positive", "negative", "mixed"))
    with pytest.raises(UserError, match="was trained with the labels positive, negative, mixed, but the task has contradiction"):
        load(tmp_path, MNLI, needs_head=True, role="teacher")
    with pytest.raises(UserError, match="was trained with the labels positive"):
        load(tmp_path, ("positive", "negative", "Positive"), needs_head=True)


@pytest.mark.parametrize(
    ("theirs", "task", "order"),
    [
        (("0", "1"), ("1", "0"), [1, 0]),
        (("2", "0", "1"), ("0", "1", "2"), [1, 2, 0]),
        (("-1", "1"), ("1", "-1"), [1, 0]),
        (("a", "A"), ("A", "a"), [1, 0]),
        (("positive", "negative"), ("0", "1"), [0, 1]),  # cannot be compared, which is reported
        (("0", "1"), ("100", "101"), [0, 1]),  # numbered outputs
        (("1", "2"), ("0", "1"), None),
        (("0", "1"), ("no", "yes"), None),
    ],
)
def test_numeric_labels_are_reordered_or_refused(tmp_path, capsys, theirs, task, order):
    model = model_folder(tmp_path, labels=theirs)
    if order is None:
        with pytest.raises(UserError, match=f"was trained with the labels {', '.join(theirs)}, but the task has {', '.join(task)}"):
            load(tmp_path, task, needs_head=True)
        return
    found = load(tmp_path, task, needs_head=True)
    np.testing.assert_array_equal(logits_of(found.model, batch()), logits_of(model, batch())[:, order])
    assert ", ".join(task) in capsys.readouterr().out
