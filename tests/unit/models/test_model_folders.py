"""A folder holds one model: its files agree with its manifest and each other, and its weights are finite."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.tiny import LABELS, SHAPE, WORDS, arrays_of, batch, classifier, logits_of, model_folder, replace_weights
from tests.unit.models.hugging_face import hugging_face_arrays, write_bfloat16, write_folder
from tinybert.cli.main import main
from tinybert.errors import UserError
from tinybert.models.loading import load_classifier, load_pretrained
from tinybert.models.masked_lm import load_masked_lm
from tinybert.models.model_info import read_model_info
from tinybert.models.weights import read_pdparams, read_weights, write_pdparams


def load(folder, needs_head=True):
    return load_classifier(str(folder), labels=LABELS, needs_head=needs_head)


def torch_folder(folder, seed=0, change=lambda arrays: arrays):
    """A Hugging Face folder whose arrays were modified by `change`; returns the original ones."""
    arrays = hugging_face_arrays(arrays_of(classifier(seed=seed)))
    write_folder(folder, change(dict(arrays)), {"model_type": "bert", **SHAPE}, WORDS)
    return arrays


# === Which file ===


def test_equal_weights_in_two_files_are_accepted_and_reported(tmp_path):
    model = model_folder(tmp_path)
    save_file(hugging_face_arrays(arrays_of(model)), tmp_path / "model.safetensors")  # PyTorch's names and orientation
    loaded = load(tmp_path)
    assert "using model_state.pdparams; model.safetensors has the same weights" in str(loaded.report)
    np.testing.assert_array_equal(logits_of(loaded.model, batch()), logits_of(model, batch()))


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_copy_of_the_weights_counts_as_equal(tmp_path, kind):
    model = model_folder(tmp_path)
    arrays = hugging_face_arrays(arrays_of(model))
    if kind == "float16":
        save_file({name: array.astype("float16") for name, array in arrays.items()}, tmp_path / "model.safetensors")
    else:
        halves = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
        write_bfloat16(tmp_path / "model.safetensors", halves)
    assert "has the same weights" in str(load(tmp_path).report)


def test_different_weights_in_a_second_file_are_refused(tmp_path):
    model_folder(tmp_path)
    arrays = hugging_face_arrays(arrays_of(classifier()))
    arrays["bert.encoder.layer.1.output.dense.bias"] = arrays["bert.encoder.layer.1.output.dense.bias"] + 1e-3
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"two files with different weights: model_state.pdparams of \d+.* and model.safetensors of \d+.*"):
        load(tmp_path)
    del arrays["classifier.weight"]
    arrays["bert.encoder.layer.1.output.dense.bias"] -= 1e-3
    save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="'classifier.weight' is only in one of them"):
        load(tmp_path)


@pytest.mark.parametrize(("name", "before"), [("model_state.pdparams", b""), ("vocab.txt", b"word3"), ("config.json", b": 0.1")])
def test_flipped_bit_in_a_model_folder_is_detected(tmp_path, name, before, capsys):
    model_folder(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    place = content.rindex(before) + len(before) - 1 if before else len(content) - 60
    content[place] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    if name == "model_state.pdparams":
        for read in (load, lambda folder: read_model_info(str(folder), None, "teacher")):
            with pytest.raises(UserError, match="is not the saved file"):
                read(tmp_path)
        return
    load(tmp_path)
    assert f"warning: {tmp_path / name} was changed after it was written" in capsys.readouterr().err


def test_weights_that_replaced_the_saved_ones_are_refused(tmp_path):
    model_folder(tmp_path)
    (tmp_path / "model_state.pdparams").unlink()
    save_file(hugging_face_arrays(arrays_of(classifier(seed=1))), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="model_state.pdparams is not the saved file: it is missing"):
        load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "my app"}')  # another program's file with this name
    load(tmp_path)


# === Wrappings ===


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_layers.", "module._orig_mod."])
def test_wrapper_prefixes_are_stripped(tmp_path, prefix):
    torch_folder(tmp_path / "torch", change=lambda arrays: {f"{prefix}{name}": array for name, array in arrays.items()})
    model = model_folder(tmp_path / "paddle")
    replace_weights(tmp_path / "paddle", {f"{prefix}{name}": array for name, array in arrays_of(model).items()})
    for folder in ("torch", "paddle"):
        np.testing.assert_array_equal(logits_of(load(tmp_path / folder).model, batch()), logits_of(model, batch()))


def test_weights_with_and_without_a_wrapper_prefix_are_refused(tmp_path):
    torch_folder(tmp_path, change=lambda arrays: arrays | {f"module.{name}": array for name, array in arrays.items()})
    with pytest.raises(UserError, match="with and without a wrapper prefix"):
        load(tmp_path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 438005877\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model_state.pdparams", "config.json", "vocab.txt"])
@pytest.mark.parametrize(
    ("content", "what"), [(POINTER, "is a Git LFS pointer"), (b"\n<!DOCTYPE html><html>", "is a web page"), (b"", "is empty")]
)
def test_placeholder_files_are_reported_as_such(tmp_path, name, content, what):
    torch_folder(tmp_path)
    if name.endswith(("bin", "pdparams")):
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} {what}"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array.T, r"has shape \[24, 16\].*\n.*The matrix is transposed"),
        (lambda array: array[:0], r"has shape \[0, 24\].*\nThe file has names without values"),
        (lambda array: np.zeros_like(array), "all values of .* are 0"),
        (lambda array: (100 * array).astype("int8"), "has type int8; expected floating point"),
        (lambda array: array > 0, "has type bool"),
    ],
)
def test_malformed_matrix_is_refused_by_name(tmp_path, change, message):
    name = "bert.encoder.layers.1.linear1.weight"
    model = model_folder(tmp_path)
    arrays = arrays_of(model)
    replace_weights(tmp_path, {**arrays, name: change(arrays[name])})
    with pytest.raises(UserError, match=f"'?{name}'?" if "all values" not in message else message) as error:
        load(tmp_path)
    assert error.match(message)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("model.safetensors.index.json", "weights in several files"),
        ("tf_model.h5", "TensorFlow weights"),
        ("adapter_model.safetensors", "an adapter"),
        ("model.onnx", "a program, not weights"),
    ],
)
def test_unsupported_weight_formats_are_refused_with_advice(tmp_path, name, what):
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UserError, match=rf"found {name}.\n{name}: {what}"):
        read_weights(tmp_path)


# === Numbers ===


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["model_state.pdparams", "model.safetensors"])
def test_non_finite_weight_is_refused_with_its_position(tmp_path, bad, form):
    arrays = arrays_of(classifier())
    arrays["bert.encoder.layers.1.linear1.weight"][3, 5] = bad
    if form == "model.safetensors":
        write_folder(tmp_path / "m", hugging_face_arrays(arrays), {"model_type": "bert", **SHAPE}, WORDS)
        place = r"'bert.encoder.layer.1.intermediate.dense.weight' has 1 of 384 numbers .*, the first at \[5, 3\]"
    else:
        model_folder(tmp_path / "m")
        replace_weights(tmp_path / "m", arrays)
        place = r"'bert.encoder.layers.1.linear1.weight' has 1 of 384 numbers that are NaN or infinite, the first at \[3, 5\]"
    for read in (load, lambda folder: load_pretrained(str(folder)), lambda folder: load_masked_lm(str(folder))):
        with pytest.raises(UserError, match=place):
            read(tmp_path / "m")


def test_weight_too_large_for_float32_is_refused(tmp_path):
    save_file({"w": np.array([1.0, 1e300])}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"'w' has 1 of 2 numbers that are NaN or infinite, the first at \[1\]"):
        read_weights(tmp_path)


def test_finite_weights_with_an_infinite_sum_are_accepted(tmp_path):
    array = np.full(4, np.finfo("float32").max)
    save_file({"w": array}, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(read_weights(tmp_path)[0]["w"], array)


@pytest.mark.parametrize("command", [["convert", "--to", "huggingface"], ["convert", "--to", "inference"], ["prune", "--num_layers", "2"]])
def test_no_command_writes_a_model_with_nan(tmp_path, command, capsys):
    arrays = arrays_of(model_folder(tmp_path / "m"))
    arrays["classifier.bias"][1] = np.nan
    replace_weights(tmp_path / "m", arrays)
    assert main([*command, "--model_path", str(tmp_path / "m"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "'classifier.bias' has 1 of 2 numbers that are NaN or infinite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_non_finite_importance_is_neither_written_nor_read(tmp_path):
    from tinybert.prune.importance import FOLDER, read_importance, write_importance

    facts = {"model": {"source": "a model"}}
    with pytest.raises(UserError, match=r"importance scores of a model: 'layers.0.linear1' has 1 of 2 numbers"):
        write_importance(tmp_path, {"layers.0.linear1": np.array([1, np.nan], "float32")}, facts)
    assert not (tmp_path / FOLDER).exists()
    write_importance(tmp_path, {"layers.0.linear1": np.array([1, 2], "float32")}, facts)
    path = tmp_path / FOLDER / "taylor.safetensors"
    save_file({"layers.0.linear1": np.array([1, np.inf], "float32")}, path)
    (tmp_path / FOLDER / "manifest.json").unlink()
    with pytest.raises(UserError):
        read_importance(tmp_path / FOLDER)


def test_weights_read_the_same_after_moving_the_folder(tmp_path):
    torch_folder(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert set(load_file(tmp_path / "b" / "model.safetensors")) == set(read_weights(tmp_path / "b")[0])
    write_pdparams(tmp_path / "w.pdparams", read_weights(tmp_path / "b")[0])
    assert set(read_pdparams(tmp_path / "w.pdparams")) == set(read_weights(tmp_path / "b")[0])
