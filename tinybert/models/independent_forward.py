"""An independent forward pass of BERT in NumPy, from a folder's files, to verify conversions.

It shares only the file readers with the encoders used elsewhere: no PaddleNLP class, no renaming, no `trace`.
"""

from __future__ import annotations

import numpy as np

from tinybert.kinds.registry import kind_of_config
from tinybert.models.configuration import config_file, read_config
from tinybert.models.families import Family, family_of_folder
from tinybert.models.names import unwrapped
from tinybert.models.weights import read_weights

TOLERANCE = 1e-4  # float32 against float64, relative to the largest output
_HUGGING_FACE = {
    "layers": "encoder.layer.", "norm": "LayerNorm", "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "o": "attention.output.dense", "norm1": "attention.output.LayerNorm", "up": "intermediate.dense", "down": "output.dense",
    "norm2": "output.LayerNorm",
}  # fmt: skip
_PADDLE = {
    "layers": "encoder.layers.", "norm": "layer_norm", "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
    "o": "self_attn.out_proj", "norm1": "norm1", "up": "linear1", "down": "linear2", "norm2": "norm2",
}  # fmt: skip


class _Weights:
    """The arrays of a file with their original names, float64; linear weights in the file's orientation."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = {name.replace("gamma", "weight").replace("beta", "bias"): array for name, array in arrays.items()}
        table = next(name for name in self.arrays if name.endswith("embeddings.word_embeddings.weight"))
        self.prefix = table.removesuffix("embeddings.word_embeddings.weight")
        self.torch = any("attention.self.query" in name for name in self.arrays)
        self.names = _HUGGING_FACE if self.torch else _PADDLE

    def array(self, name: str, inside: bool = True) -> np.ndarray:
        return self.arrays[(self.prefix if inside else "") + name].astype(np.float64)

    def linear(self, x: np.ndarray, name: str, inside: bool = True) -> np.ndarray:
        weight = self.array(f"{name}.weight", inside)
        return x @ (weight.T if self.torch else weight) + self.array(f"{name}.bias", inside)

    def norm(self, x: np.ndarray, name: str, eps: float) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.array(f"{name}.weight") + self.array(f"{name}.bias")


def independent_outputs(folder, eps: float, ids: np.ndarray, segments: np.ndarray, mask: np.ndarray, output: str) -> np.ndarray | None:
    """`logits` `[B, C]`, `pooled output` `[B, D]` or `hidden states` `[B, T, D]` of a batch `[B, T]`; None for unsupported networks.

    eps: of the layer normalisation, if missing in the configuration.
    """
    config = read_config(folder)
    arrays, file = read_weights(folder)
    weights = _Weights(unwrapped(arrays, str(file)))
    family = family_of_folder(config, weights.arrays, str(config_file(folder)))[0]
    cut = any(key in config for key in ("prun_hidden_size", "attention_head_size", "embedding_rank"))
    if not family.is_plain_bert or cut or config.get("hidden_act", "gelu") not in ("gelu", "relu"):
        return None
    eps = config.get("layer_norm_eps", eps)
    hidden = _embedded(weights, config, family, eps, ids, segments)
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(weights, f"{weights.names['layers']}{layer}.", hidden, mask, config, eps)
    if output == "hidden states":
        return hidden
    first = hidden[:, 0]
    kind = kind_of_config(config)
    if output == "logits" and kind is not None and kind.head != "sequence":
        return weights.linear(hidden, next(name for name in ("qa_outputs", "classifier") if f"{name}.weight" in weights.arrays), False)
    if output == "logits" and "classifier.out_proj.weight" in weights.arrays:
        return weights.linear(np.tanh(weights.linear(first, "classifier.dense", False)), "classifier.out_proj", False)
    pooled = weights.linear(first, "pooler.dense")
    linear = family.pools_by_config and config.get("pool_act", "tanh") != "tanh"
    pooled = pooled if linear else np.tanh(pooled)
    if output == "pooled output":
        return pooled
    return weights.linear(np.maximum(pooled, 0) if family.relu_head else pooled, "classifier", False)


def _embedded(weights: _Weights, config: dict, family: Family, eps: float, ids: np.ndarray, segments: np.ndarray) -> np.ndarray:
    places = np.arange(ids.shape[1]) + (config.get("pad_token_id", 1) + 1 if family.positions_follow_padding else 0)
    total = weights.array("embeddings.word_embeddings.weight")[ids] + weights.array("embeddings.position_embeddings.weight")[places]
    total += weights.array("embeddings.token_type_embeddings.weight")[segments]
    if config.get("use_task_id"):
        total += weights.array("embeddings.task_type_embeddings.weight")[config.get("task_id", 0)]
    return weights.norm(total, f"embeddings.{weights.names['norm']}", eps)


def _layer(weights: _Weights, at: str, x: np.ndarray, mask: np.ndarray, config: dict, eps: float) -> np.ndarray:
    from scipy.special import erf

    names, heads = weights.names, config["num_attention_heads"]
    rows, length, width = x.shape
    q, k, v = (weights.linear(x, at + names[part]).reshape(rows, length, heads, -1).transpose(0, 2, 1, 3) for part in "qkv")
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads)
    scores = np.where(mask[:, None, None, :] > 0, scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ v
    mixed = weights.linear(mixed.transpose(0, 2, 1, 3).reshape(rows, length, width), at + names["o"])
    x = weights.norm(x + mixed, at + names["norm1"], eps)
    up = weights.linear(x, at + names["up"])
    up = np.maximum(up, 0) if config.get("hidden_act", "gelu") == "relu" else 0.5 * up * (1 + erf(up / np.sqrt(2)))
    return weights.norm(x + weights.linear(up, at + names["down"]), at + names["norm2"], eps)
