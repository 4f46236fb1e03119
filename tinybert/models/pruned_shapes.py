"""Encoders whose heads do not add up to the width, or whose word embedding is factorised, in PaddleNLP's own classes.

Only the embedding has a new forward pass: `paddle.nn.TransformerEncoder` reads `num_heads` and `head_dim` from each attention layer, so
heads are removed by replacing four linear layers and these two numbers.
"""

from __future__ import annotations

from paddle import Tensor, nn


class FactorisedEmbedding(nn.Embedding):
    """Word vectors `[V, d]` as a table `[V, r]` (`weight`) times a linear layer without bias `[r, d]` (`up`).

    Source: ROSITA (Liu et al. 2021); llyx97/Rosita, `word_embeddings1` and `word_embeddings2`.
    """

    def __init__(self, words: int, rank: int, width: int, padding_idx: int | None = None) -> None:
        super().__init__(words, rank, padding_idx=padding_idx)
        self.up = nn.Linear(rank, width, bias_attr=False)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors `[..., d]` of tokens `[...]`."""
        return self.up(nn.Embedding.forward(self, x))


def strip_pruned_shapes(known: dict) -> dict:
    """The architecture without what PaddleNLP's classes cannot build: heads add up to the width, the embedding is not factorised."""
    plain = {name: value for name, value in known.items() if name not in ("attention_head_size", "embedding_rank")}
    return {**plain, "num_attention_heads": 1} if "attention_head_size" in known else plain


def apply_pruned_shapes(encoder: nn.Layer, known: dict) -> None:
    """Give a new encoder the heads and the embedding of `known`, with random weights, and update its configuration."""
    config = encoder.config
    if "attention_head_size" in known:
        config.num_attention_heads, config.attention_head_size = known["num_attention_heads"], known["attention_head_size"]
        for layer in encoder.encoder.layers:
            _set_heads(layer.self_attn, config.hidden_size, config.num_attention_heads, config.attention_head_size)
    if "embedding_rank" in known:
        config.embedding_rank = known["embedding_rank"]
        whole = encoder.embeddings.word_embeddings
        padding = None if whole._padding_idx == -1 else whole._padding_idx  # Paddle uses -1 for none
        encoder.embeddings.word_embeddings = FactorisedEmbedding(
            whole.weight.shape[0], config.embedding_rank, whole.weight.shape[1], padding
        )


def _set_heads(attention: nn.MultiHeadAttention, width: int, heads: int, head_size: int) -> None:
    for name in ("q_proj", "k_proj", "v_proj"):
        setattr(attention, name, nn.Linear(width, heads * head_size))
    attention.out_proj = nn.Linear(heads * head_size, width)
    attention.num_heads, attention.head_dim = heads, head_size


def head_size_of(config) -> int:
    """The size of one attention head."""
    return getattr(config, "attention_head_size", None) or config.hidden_size // config.num_attention_heads


def describe_architecture(config) -> str:
    """A description of an encoder's shape: `6 x 384, 12 heads`, and how it was pruned."""
    heads = config.num_attention_heads
    words = f"{config.num_hidden_layers} x {config.hidden_size}, {heads} head{'s' if heads > 1 else ''}"
    if getattr(config, "attention_head_size", None):
        words += f" of {config.attention_head_size}"
    rank = getattr(config, "embedding_rank", None)
    cut_somewhere = getattr(config, "attention_head_size", None) or rank or config.intermediate_size < config.hidden_size
    words += f", feed-forward {config.intermediate_size}" if cut_somewhere else ""
    return words + (f", embedding of rank {rank}" if rank else "")
