"""MPNet's encoder: BERT's layers and names, and a score bias per head by the distance of two positions, shared by all layers."""

from __future__ import annotations

import math
import re

import numpy as np
import paddle
from paddle import Tensor, nn

FARTHEST = 128  # positions; all larger distances share a bucket
# PaddleNLP's names of MPNet's weights and ours; {i} is a number
_NAMES = tuple(
    (f"encoder.layer.{{i}}.{theirs}.", f"encoder.layers.{{i}}.{ours}.")
    for theirs, ours in (
        ("attention.q", "self_attn.q_proj"),
        ("attention.k", "self_attn.k_proj"),
        ("attention.v", "self_attn.v_proj"),
        ("attention.o", "self_attn.out_proj"),
        ("attention.layer_norm", "norm1"),
        ("ffn", "linear1"),
        ("ffn_output", "linear2"),
        ("layer_norm", "norm2"),
    )
)


class RelativeEncoder(nn.Layer):
    """`paddle.nn.TransformerEncoderLayer`s with a score bias, which replace PaddleNLP's encoder of MPNet.

    Source: MPNet (Song et al. 2020); the buckets are T5's (Raffel et al. 2020).
    """

    def __init__(self, config) -> None:
        super().__init__()
        self.layers = nn.LayerList([
            nn.TransformerEncoderLayer(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                dropout=config.hidden_dropout_prob,
                activation=config.hidden_act,
                attn_dropout=config.attention_probs_dropout_prob,
                act_dropout=0,
            )
            for _ in range(config.num_hidden_layers)
        ])  # fmt: skip
        self.relative_attention_bias = nn.Embedding(config.relative_attention_num_buckets, config.num_attention_heads)

    def position_bias(self, width: int) -> Tensor:
        """The score bias for rows with `width` tokens, `[1, h, T, T]`."""
        buckets = buckets_of(width, self.relative_attention_bias.weight.shape[0])
        return self.relative_attention_bias(paddle.to_tensor(buckets)).transpose([2, 0, 1]).unsqueeze(0)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """The outputs of embedding and layers, in the form that PaddleNLP's model expects, and no scores."""
        bias = self.position_bias(hidden_states.shape[1])
        mask = bias if attention_mask is None else bias + attention_mask
        outputs = [hidden_states]
        for layer in self.layers:
            outputs.append(layer(outputs[-1], mask))
        return outputs, []


def buckets_of(width: int, count: int) -> np.ndarray:
    """The bucket of every pair of positions, int64 `[T, T]`: half for keys after the query; exact for small distances, then logarithmic."""
    distance = np.arange(width)[None, :] - np.arange(width)[:, None]
    half, exact = count // 2, count // 4
    away = np.abs(distance)
    beyond = np.maximum(away, 1).astype(np.float32) / np.float32(exact)
    far = exact + (np.log(beyond) / math.log(FARTHEST / exact) * (half - exact)).astype(np.int64)
    return np.where(away < exact, away, np.minimum(far, half - 1)) + half * (distance > 0)


def from_paddle_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename arrays to our names; others are unchanged."""
    return {_renamed(name, _NAMES): array for name, array in arrays.items()}


def to_paddle_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse."""
    back = tuple((ours, theirs) for theirs, ours in _NAMES)
    return {_renamed(name, back): array for name, array in arrays.items()}


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for source, target in pairs:
        pattern = re.escape(source).replace(r"\{i\}", r"(\d+)")
        name, found = re.subn(pattern, target.replace("{i}", r"\1"), name)
        if found:
            break
    return name
