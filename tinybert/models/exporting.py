"""Writes a model in Hugging Face's or PaddleNLP's format, and verifies that the copy is the same model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from tinybert import storage
from tinybert.errors import UserError
from tinybert.models.configuration import trained_on
from tinybert.models.independent_forward import TOLERANCE as FORWARD_TOLERANCE
from tinybert.models.independent_forward import independent_outputs
from tinybert.models.loading import LoadedModel, load_pretrained
from tinybert.models.names import to_hugging_face
from tinybert.models.pruned_shapes import describe_architecture
from tinybert.models.relative import to_paddle_names
from tinybert.models.saving import config_dict
from tinybert.models.trace import Inputs, Needs, base_of, token_types, trace
from tinybert.models.weights import write_pdparams
from tinybert.safetensors_file import write_safetensors

TOLERANCE = 1e-6
_ROWS, _WIDTH = 4, 16
# PaddleNLP's keys that Hugging Face's classes do not read
_PADDLE_ONLY = ("fit_size", "pool_act", "task_id", "dtype")


@dataclass(frozen=True)
class Verification:
    """The comparison of a model and its copy: the outputs of a fixed batch, and every weight."""

    output: str
    difference: float
    weights: int


def has_head(loaded: LoadedModel) -> bool:
    """Whether the classifier was loaded from a file (rather than newly initialised)."""
    return not any(name.startswith("classifier.") for name in loaded.report.fresh)


def write_as(folder: Path, loaded: LoadedModel, source_config: dict, layout: str) -> Verification:
    """Write a model folder in the format `huggingface` or `paddlenlp`, read it again and compare; atomic.

    Raises:
        UserError: the format cannot represent the model, or the copy differs; nothing has been written then.
    """
    config = config_as(loaded, source_config, layout)
    arrays = arrays_as(loaded, layout)
    with storage.new_folder(folder, replace=True) as temporary:
        storage.write_json(temporary / "config.json", config)
        if layout == "huggingface":
            write_safetensors(temporary / "model.safetensors", arrays, {"format": "pt"})
            loaded.tokenizer.save(temporary, tokenizer_class="BertTokenizer")
        else:
            write_pdparams(temporary / "model_state.pdparams", arrays)
            loaded.tokenizer.save(temporary, tokenizer_class=loaded.family.tokenizer)
        return verify_copy(loaded, load_pretrained(str(temporary))[0])


def arrays_as(loaded: LoadedModel, layout: str) -> dict[str, np.ndarray]:
    """The trained weights and projections with the names and orientation of a format."""
    base = loaded.family.base
    fresh = set(loaded.report.fresh)
    arrays = {name: value.numpy() for name, value in loaded.model.state_dict().items() if name not in fresh}
    arrays |= {f"{base}.{name}": np.asarray(array, np.float32) for name, array in loaded.projections.items()}
    if layout == "paddlenlp" and loaded.family.relative:
        arrays = to_paddle_names(arrays)
    if layout == "huggingface":
        named = to_hugging_face(arrays, f"{loaded.family.hugging_face_type}." if has_head(loaded) else "")
        if loaded.head != "span":
            return named
        return {name.replace("classifier.", "qa_outputs.", 1) if name.startswith("classifier.") else name: a for name, a in named.items()}
    if f"{base}.fit_dense.weight" not in arrays:  # PaddleNLP's class has BERT-EMD's `share_fit_dense` under this name
        arrays = {name.replace(f"{base}.share_fit_dense.", f"{base}.fit_dense."): array for name, array in arrays.items()}
    return arrays if has_head(loaded) else {name.removeprefix(f"{base}."): array for name, array in arrays.items()}


def config_as(loaded: LoadedModel, source_config: dict, layout: str) -> dict:
    """The content of config.json in a format: shape, head and label names.

    Raises:
        UserError: Hugging Face's class would compute something different.
    """
    encoder = base_of(loaded.model).config
    config = config_dict(loaded.model, loaded.family, loaded.output_names, loaded.head_config(loaded.output_names))
    config |= trained_on(source_config).entry()
    if not has_head(loaded):
        config["architectures"] = [loaded.family.encoder.__name__]
        for key in ("num_labels", "id2label", "label2id", "problem_type", "trained_on", *loaded.decision):
            config.pop(key, None)
    if layout == "huggingface" and loaded.family.relative:
        raise UserError(
            f"a {loaded.family.stem} cannot be written in Hugging Face's layout, because its class has another head there.\n"
            "Use PaddleNLP's layout."
        )
    if layout == "paddlenlp":
        widths = {array.shape[-1] for array in loaded.projections.values()}
        if len(widths) == 1:
            config["fit_size"] = widths.pop()
        return config
    if getattr(encoder, "attention_head_size", None) or getattr(encoder, "embedding_rank", None):
        raise UserError(
            f"this model is pruned ({describe_architecture(encoder)}); Hugging Face's classes support neither such heads nor a "
            "factorised embedding.\nUse PaddleNLP's layout (--to paddlenlp), which this project reads."
        )
    if getattr(encoder, "pool_act", "tanh") != "tanh" or getattr(encoder, "task_id", 0):
        raise UserError(
            f"this model has pool_act {getattr(encoder, 'pool_act', 'tanh')} and task_id {getattr(encoder, 'task_id', 0)}; Hugging Face's "
            "classes compute with tanh and task 0 only.\nIts outputs would differ there: use PaddleNLP's layout."
        )
    for key in _PADDLE_ONLY:
        config.pop(key, None)
    theirs = {ours: name for name, ours in loaded.family.published_keys.items()}
    config = {theirs.get(key, key): value for key, value in config.items()}
    config["model_type"] = loaded.family.hugging_face_type
    config["architectures"] = [name.replace(loaded.family.stem, loaded.family.hugging_face_stem) for name in config["architectures"]]
    config["torch_dtype"] = "float32"
    if loaded.family.relu_head:
        config["classifier_activation"] = "relu"
    return config


def compared_output(loaded: LoadedModel) -> str:
    """The trained output of a model: logits, else the pooled output, else hidden states."""
    pooled = hasattr(base_of(loaded.model), "pooler") and not loaded.report.fresh_in("pooler")
    return "logits" if has_head(loaded) else "pooled output" if pooled else "hidden states"


def verify_copy(source: LoadedModel, copy: LoadedModel) -> Verification:
    """Compare two models: class, tokenizer, labels, every weight, and the outputs of a fixed batch.

    Raises:
        UserError: they differ, for outputs by more than 1e-6.
    """
    for what, one, other in (
        ("class", source.family.model_type, copy.family.model_type),
        ("tokenizer", source.tokenizer.fingerprint, copy.tokenizer.fingerprint),
        ("labels", source.labels, copy.labels),
        ("fresh weights", set(source.report.fresh), set(copy.report.fresh)),
        ("unused weights", [], copy.report.unused),
    ):
        if one != other:
            raise UserError(f"the copy has another {what}: {one} became {other}. Nothing was written; please report this.")
    before, after = _weights(source), _weights(copy)
    unlike = [name for name in before.keys() | after.keys() if not np.array_equal(before.get(name), after.get(name), equal_nan=True)]
    if unlike:
        raise UserError(f"the copy has other weights ({', '.join(sorted(unlike)[:4])}). Nothing was written; please report this.")
    output = compared_output(source)
    difference = float(np.abs(_outputs(source, output) - _outputs(copy, output)).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"the copy gives other {output} than its source: largest difference {difference:g}, expected at most {TOLERANCE:g}.\n"
            "Nothing was written; please report this."
        )
    return Verification(output, difference, len(before))


def check_reading(loaded: LoadedModel, folder: Path, output: str) -> str:
    """Compare a loaded model with an independent forward pass of the same files; returns a description of the result.

    Raises:
        UserError: the outputs differ, so the files were interpreted incorrectly.
    """
    inputs = fixed_batch(loaded)
    ids, segments, mask = (value.numpy() for value in (inputs.input_ids, inputs.token_type_ids, inputs.attention_mask))
    expected = independent_outputs(folder, loaded.config.layer_norm_eps, ids, segments, mask, output)
    if expected is None:
        return "note: there is no independent forward pass for such a network; the copy was compared with the loaded source"
    found = _outputs(loaded, output)
    real = mask[:, :, None] if found.ndim == 3 else 1.0  # ignore values at padding
    difference = float(np.abs((found - expected) * real).max())
    if not difference <= FORWARD_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise UserError(
            f"{folder}: {output} of the loaded model differ by {difference:g} from an independent forward pass over its files."
            "\nThe model was read incorrectly and nothing was written; please report this with its config.json."
        )
    return f"verified: largest difference of {output} from an independent forward pass over the source files: {difference:.1e}"


def _weights(loaded: LoadedModel) -> dict[str, np.ndarray]:
    fresh = set(loaded.report.fresh)
    weights = {name: value.numpy() for name, value in loaded.model.state_dict().items() if name not in fresh}
    return weights | {name.removeprefix("share_"): np.asarray(array, np.float32) for name, array in loaded.projections.items()}


def _outputs(loaded: LoadedModel, output: str) -> np.ndarray:
    loaded.model.eval()
    layers = loaded.config.num_hidden_layers
    needs = Needs(frozenset({layers}), pooled=output == "pooled output", logits=output == "logits")
    with paddle.no_grad():
        found = trace(loaded.model, fixed_batch(loaded), needs)
    return {"logits": found.logits, "pooled output": found.pooled, "hidden states": found.hidden.get(layers)}[output].numpy()


def fixed_batch(loaded: LoadedModel) -> Inputs:
    """Rows of valid tokens with decreasing length, each with a second segment in its second half."""
    random = np.random.default_rng(0)
    real = np.arange(_WIDTH) < np.linspace(_WIDTH, _WIDTH // 2, _ROWS).astype(int)[:, None]
    pad = loaded.tokenizer.pad_id
    ids = random.integers(0, loaded.tokenizer.vocab_size, (_ROWS, _WIDTH))
    ids = np.where(ids == pad, loaded.tokenizer.unk_id, ids)
    segments = (np.arange(_WIDTH) >= _WIDTH // 3) & real & (token_types(loaded.model) > 1)
    return Inputs(
        paddle.to_tensor(np.where(real, ids, pad).astype("int64")),
        paddle.to_tensor(segments.astype("int64")),
        paddle.to_tensor(real.astype("float32")),
    )
