"""Encoders with a few thousand parameters, their folders, and batches for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from tinybert.data.tokenizer import WordPiece
from tinybert.models.families import family
from tinybert.models.loading import LoadedModel, LoadReport, build
from tinybert.models.projections import Projection
from tinybert.models.saving import save_model
from tinybert.models.trace import Inputs, Needs, token_types
from tinybert.models.weights import write_pdparams

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, *(f"word{i}" for i in range(35))]
SHAPE = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
SHAPES = {"electra": {"embedding_size": 8}}  # what a family needs to differ from BERT
LABELS = ("no", "yes")


def all_needs(layers: int) -> Needs:
    """All that an encoder of this depth can leave behind."""
    each = frozenset(range(layers))
    return Needs(frozenset(range(layers + 1)), each, each, True, True)


def classifier(model_type: str = "bert", outputs: int = 2, seed: int = 0, head: str = "sequence", **shape) -> nn.Layer:
    """A classifier in which every parameter, including biases and norms, is random and differs from its initial value."""
    model = build(family(model_type), {**SHAPE, **SHAPES.get(model_type, {}), **shape}, outputs, "tiny", head)
    random = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.set_value((around + 0.3 * random.standard_normal(parameter.shape)).astype("float32"))
    model.eval()
    return model


def word_pieces(words: list[str] | None = None) -> WordPiece:
    """A tokenizer for `WORDS`, or for other words."""
    return WordPiece(list(words or WORDS))


def loaded(model_type: str = "bert", outputs: int = 2, seed: int = 0, **shape) -> LoadedModel:
    """The same as loaded by `load_classifier`."""
    labels = LABELS if outputs == 2 else None
    return LoadedModel(classifier(model_type, outputs, seed, **shape), family(model_type), word_pieces(), labels, {}, LoadReport("tiny"))


def model_folder(
    folder: Path, model_type: str = "bert", labels: tuple[str, ...] = LABELS, seed: int = 0, projection: Projection | None = None, **shape
) -> nn.Layer:
    """Write a model folder and return the model that is in it."""
    model = classifier(model_type, max(1, len(labels)), seed, **shape)
    save_model(folder, model, family(model_type), word_pieces(), labels, projection)
    return model


def replace_weights(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Replace the weights in a folder of `model_folder`, as a user who also deletes its manifest."""
    write_pdparams(folder / "model_state.pdparams", arrays)
    (folder / "manifest.json").unlink()


def batch(rows: int = 3, width: int = 9, lengths: tuple[int, ...] = (9, 4, 6), labels: np.ndarray | None = None, seed: int = 1) -> Inputs:
    """A batch of sentence pairs in which all rows but the longest are padded."""
    random = np.random.default_rng(seed)
    real = (np.arange(width) < np.array(lengths)[:rows, None]).astype("float32")
    ids = (random.integers(5, len(WORDS), (rows, width)) * real).astype("int64")
    segments = ((np.arange(width) >= 3) * real).astype("int64")
    return Inputs(
        paddle.to_tensor(ids),
        paddle.to_tensor(segments),
        paddle.to_tensor(real),
        None if labels is None else paddle.to_tensor(labels),
    )


def arrays_of(model: nn.Layer) -> dict[str, np.ndarray]:
    """The parameters of a model by name."""
    return {name: value.numpy() for name, value in model.state_dict().items()}


def logits_of(model: nn.Layer, inputs: Inputs) -> np.ndarray:
    """The output of the model's own forward pass, without dropout."""
    model.eval()
    with paddle.no_grad():
        return own_forward(model, inputs).numpy()


def own_forward(model: nn.Layer, inputs: Inputs):
    """The output of the model's own forward pass. PaddleNLP's ELECTRA takes the floats 0 and 1 for scores to add."""
    segments = {"token_type_ids": inputs.token_type_ids} if token_types(model) else {}
    return model(inputs.input_ids, attention_mask=inputs.attention_mask.astype("int64"), **segments)


def learnable_rows(folder: Path, rows: dict[str, int], seed: int) -> None:
    """A task folder like SST-2's: words of the first half of the vocabulary occur in rows of label 0, the others in rows of label 1."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for name, count in rows.items():
        lines = ["sentence\tlabel"]
        for _ in range(count):
            label = int(random.integers(2))
            words = (f"word{random.integers(0, 15) + 15 * label}" for _ in range(random.integers(3, 12)))
            lines.append(" ".join(words) + f"\t{label}")
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")


def pregenerated_epoch(folder: Path, number: int, rows: int, length: int = 16, words: list[str] | None = None, seed: int = 0) -> None:
    """An epoch of pre-generated rows in the published format: pairs of segments."""
    random = np.random.default_rng([seed, number] if seed else number)
    words = words or WORDS[len(SPECIAL) :]
    lines = []
    for _ in range(rows):
        sizes = random.integers(1, (length - 3) // 2 + 1, 2)
        first, second = ([words[i] for i in random.integers(0, len(words), size)] for size in sizes)
        tokens = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
        segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
        lines.append({
            "tokens": tokens, "segment_ids": segments, "is_random_next": False, "masked_lm_positions": [1], "masked_lm_labels": tokens[1:2],
        })  # fmt: skip
    (folder / f"epoch_{number}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / f"epoch_{number}_metrics.json").write_text(json.dumps({"num_training_examples": rows, "max_seq_len": length}))


def masked_lm_folder(folder: Path, pieces: list[str], **shape: int) -> None:
    """A BERT with random weights and a masked-LM head over these tokens."""
    random = np.random.default_rng(0)
    model = classifier(**shape, vocab_size=len(pieces))
    save_model(folder, model, family("bert"), word_pieces(pieces), ("0", "1"))
    arrays = {name: array for name, array in arrays_of(model).items() if not name.startswith("classifier")}
    width, head = SHAPE["hidden_size"], "cls.predictions."
    shapes = {"transform.weight": (width, width), "transform.bias": (width,), "layer_norm.weight": (width,), "layer_norm.bias": (width,)}
    arrays |= {head + name: random.standard_normal(size).astype("float32") for name, size in shapes.items()}
    replace_weights(folder, arrays | {f"{head}decoder_bias": np.zeros(len(pieces), "float32")})
