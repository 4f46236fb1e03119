"""Reading golden fixtures: plain arrays and a JSON configuration with the same stem."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import paddle

from tinybert.models.families import family
from tinybert.models.loading import build
from tinybert.models.names import to_paddle
from tinybert.models.projections import Projection
from tinybert.models.trace import Inputs

HERE = Path(__file__).parent / "golden"


def fixtures(pattern: str) -> list[Path]:
    """All fixtures whose file name matches, in the repository and in the folder given by GOLDEN_DIR."""
    folders = [HERE]
    if os.environ.get("GOLDEN_DIR"):
        folders.append(Path(os.environ["GOLDEN_DIR"]))
    return [path for folder in folders for path in sorted(folder.glob(pattern))]


def read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The configuration and the arrays of a fixture."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(path.with_suffix(".json").read_text()), arrays


def part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names start with `prefix`, with the prefix removed."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def model_of(shape: dict, weights: dict[str, np.ndarray], outputs: int):
    """A TinyBERT classifier of this shape with these weights (PyTorch names), and the unused weights."""
    kind = family("tinybert")
    config = {
        "vocab_size": shape["vocab"],
        "hidden_size": shape["hidden"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "intermediate_size": shape["ffn"],
        "max_position_embeddings": shape["maxpos"],
        "type_vocab_size": 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
    }
    model = build(kind, config, outputs, "fixture")
    renamed, _ = to_paddle(weights, kind.base)
    for name, parameter in model.state_dict().items():
        parameter.set_value(renamed[name].astype("float32"))
    return model, renamed


def projection_of(config: dict, renamed: dict[str, np.ndarray], mode: str = "shared") -> Projection:
    """The projection of a fixture's student."""
    student = config["student"]
    projection = Projection(mode, student["layers"], student["hidden"], config["teacher"]["hidden"])
    projection.load({name.removeprefix("tinybert."): array.astype("float32") for name, array in renamed.items() if "fit_dense" in name})
    return projection


def inputs_of(arrays: dict[str, np.ndarray], step: int | None = None) -> Inputs:
    """The batch of a fixture; `step` picks one of several."""

    def pick(name: str, kind: str):
        array = arrays[name] if step is None else arrays[name][step]
        return paddle.to_tensor(array.astype(kind))

    labels = None
    if "labels" in arrays:
        labels = pick("labels", "float32" if arrays["labels"].dtype.kind == "f" else "int64")
    return Inputs(pick("input_ids", "int64"), pick("segment_ids", "int64"), pick("attention_mask", "float32"), labels)


def paddle_name(name: str) -> tuple[str, bool]:
    """The name of a parameter of `TrainedLayer` for a PyTorch name, and whether it is transposed."""
    probe = {name: np.zeros((2, 3))}
    (renamed, array), *_ = to_paddle(probe, "tinybert")[0].items()
    inside = renamed.removeprefix("tinybert.")
    inside = inside.removeprefix("share_")
    owner = "objective.projection." + inside if inside.startswith("fit_dense") else "student." + renamed
    return owner, array.shape == (3, 2)


def assert_gradients(layer, arrays: dict[str, np.ndarray], prefix: str) -> int:
    """Compare all stored gradients with the layer's, to 1e-4 of the tensor's largest value; returns their number."""
    parameters = dict(layer.named_parameters())
    expected = part(arrays, prefix)
    for name, gradient in expected.items():
        ours, transposed = paddle_name(name)
        tensor = parameters[ours].grad
        found = np.zeros_like(gradient) if tensor is None else tensor.numpy()
        found = found.T if transposed and gradient.ndim == 2 and tensor is not None else found
        bound = 1e-4 * np.abs(gradient).max() + 1e-9
        assert np.abs(found - gradient).max() <= bound, f"gradient of {name}"
    return len(expected)
