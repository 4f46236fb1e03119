"""Runs the forward pass of a BERT-like encoder and returns the requested intermediate values, without unnecessary computation.

`trace` calls the layers of the standard `paddle.nn.TransformerEncoder` inside a PaddleNLP model (BERT, TinyBERT, ERNIE, RoBERTa,
MacBERT, ...) without patching anything. PaddleNLP's own `output_attentions` returns weights after softmax, which TinyBERT's attention
loss cannot use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from tinybert.errors import UserError
from tinybert.models import cpu_ops
from tinybert.models.families import family_of_model, head_of_model

if TYPE_CHECKING:
    from tinybert.data.batches import Batch

MASK_VALUE = -1e4  # added to the scores of padded keys: BERT's constant, and safe in float16


@dataclass(frozen=True)
class Needs:
    """The requested content of a trace: entries of `hidden` (0 = embedding), 0-based layers of `scores` and `qkv`, and outputs of the
    head."""

    hidden: frozenset[int] = frozenset()
    scores: frozenset[int] = frozenset()
    qkv: frozenset[int] = frozenset()
    pooled: bool = False
    logits: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            self.hidden | other.hidden,
            self.scores | other.scores,
            self.qkv | other.qkv,
            self.pooled or other.pooled,
            self.logits or other.logits,
        )

    def __bool__(self) -> bool:
        return bool(self.hidden or self.scores or self.qkv or self.pooled or self.logits)

    def full_layers(self, layers: int) -> int:
        """How many layers must be computed completely."""
        if self.pooled or self.logits:
            return layers
        # entry m needs layers 0..m-1 completely, and so do the scores of layer index m
        return max([*self.hidden, *self.scores, *self.qkv], default=0)


@dataclass
class Selected:
    """The selected part of one entry of `hidden`.

    values: `[B, K, D]`; values that were not selected are arbitrary. positions: int64 `[B, K]`, the positions of the K rows in the
    sequence; None for all T positions in order. real: `[B, K]`, 1 for selected positions, 0 for padding. kept: 1 for selected hidden
    dimensions, `[D]` if shared or `[B, K, D]`; None for all.
    """

    values: Tensor
    positions: Tensor | None
    real: Tensor
    kept: Tensor | None = None


@dataclass
class EncoderTrace:
    """The requested parts of one forward pass.

    hidden: entry -> `[B, T, D]`, entry 0 the embedding output, entry m the output of layer m.
    scores: 0-based layer -> `[B, h, T, T]`, q.k / sqrt(head size) + mask, before softmax.
    query, key, value: 0-based layer -> `[B, h, T, head size]`.
    pooled: `[B, D]`. logits: `[B, C]`, for a token-level head `[B, T, C]`.
    selected: student entry -> selected part of its teacher entry; only in stored traces, see `tinybert.traces`.
    """

    hidden: dict[int, Tensor] = field(default_factory=dict)
    scores: dict[int, Tensor] = field(default_factory=dict)
    query: dict[int, Tensor] = field(default_factory=dict)
    key: dict[int, Tensor] = field(default_factory=dict)
    value: dict[int, Tensor] = field(default_factory=dict)
    pooled: Tensor | None = None
    logits: Tensor | None = None
    selected: dict[int, Selected] = field(default_factory=dict)


@dataclass
class Inputs:
    """One micro-batch as tensors: `input_ids`, `token_type_ids` int64 `[B, T]`, `attention_mask` float `[B, T]` (0 = padding).

    labels: int64 `[B]`, float32 `[B]` (regression) or None. share: this micro-batch's fraction of the whole optimizer step in rows,
    tokens and token pairs; objectives multiply their local means by it. rows: int64 `[B]`, positions of the rows in their token
    store; None without a store. padded: whether any position is padding; if not, no mask is applied.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor
    labels: Tensor | None = None
    share: dict[str, float] = field(default_factory=lambda: {"rows": 1.0, "tokens": 1.0, "token_pairs": 1.0, "words": 1.0})
    rows: np.ndarray | None = None
    padded: bool = True

    @classmethod
    def of(cls, batch: Batch) -> Inputs:
        """The arrays of a padded micro-batch as tensors on the current device."""
        labels = None if batch.labels is None else paddle.to_tensor(batch.labels)
        arrays = (paddle.to_tensor(array) for array in (batch.input_ids, batch.token_type_ids, batch.attention_mask))
        return cls(*arrays, labels, batch.share, batch.rows, padded=not batch.attention_mask.all())


def base_of(model: nn.Layer) -> nn.Layer:
    """The encoder inside a PaddleNLP model with a head, or the model itself if it has none."""
    return getattr(model, model.base_model_prefix, model)


def token_types(model: nn.Layer) -> int:
    """The number of token types that an encoder distinguishes; 0 if its family has none."""
    table = getattr(base_of(model).embeddings, "token_type_embeddings", None)
    return 0 if table is None else int(table.weight.shape[0])


def look_up(table: Tensor, ids: Tensor) -> Tensor:
    """The entries of a table `[V]` for ids of any shape."""
    return paddle.gather(table, ids.reshape([-1])).reshape(ids.shape)


def layers_of(model: nn.Layer) -> nn.LayerList:
    """The transformer layers of a PaddleNLP encoder, with or without a head."""
    return base_of(model).encoder.layers


def trace(model: nn.Layer, inputs: Inputs, needs: Needs, head: str | None = None, at: Tensor | None = None) -> EncoderTrace:
    """Run the encoder as far as `needs` requires and return the requested values.

    at: int64 `[B, R]`, R positions per row: the last layer is computed only there, so its hidden entry is `[B, R, D]`, and its
    queries and scores are restricted to these positions.

    head: how logits are computed from the pooled output. None = as in the model's class; "relu" = classifier(relu(pooled));
    "plain" = classifier(dropout(pooled)).
    """
    base = base_of(model)
    layers = base.encoder.layers
    result = EncoderTrace()
    embeddings = base.embeddings
    types = token_types(model)
    segments = inputs.token_type_ids if types > 1 else None
    own_ids = getattr(base, "own_ids", None)  # see `translation.read_ids_of`
    ids = inputs.input_ids if own_ids is None else own_ids(inputs.input_ids)
    x = _embed(embeddings, input_ids=ids, **({"token_type_ids": segments} if types else {}))
    if hasattr(base, "embeddings_project"):
        x = cpu_ops.linear(base.embeddings_project, x)
    if 0 in needs.hidden:
        result.hidden[0] = x
    mask = _additive_mask(inputs, max(layer.self_attn.num_heads for layer in layers), x.dtype) if inputs.padded else None
    if hasattr(base.encoder, "position_bias"):
        bias = base.encoder.position_bias(x.shape[1]).astype(x.dtype)
        mask = bias if mask is None else mask + bias
    full = needs.full_layers(len(layers))
    for i, layer in enumerate(layers):
        finish = i < full
        if not finish and i not in needs.scores and i not in needs.qkv:
            break
        rows = None if at is None or i + 1 < full else _at(x, at)
        x = _run_layer(layer, x, mask, i, needs, result, finish, rows)
        if finish and i + 1 in needs.hidden:
            result.hidden[i + 1] = x
    if needs.pooled or needs.logits:
        _finish_head(model, x, needs, result, head)
    return result


def _embed(embeddings: nn.Layer, **inputs: Tensor | None) -> Tensor:
    """The embedding layer's output; its dropout, which is the last operation in every family, is ours."""
    last = embeddings.dropout
    training, last.training = last.training, False
    try:
        x = embeddings(**inputs)
    finally:
        last.training = training
    return cpu_ops.dropout(x, last.p, training)


def _additive_mask(inputs: Inputs, heads: int, dtype: paddle.dtype) -> Tensor:
    """`[B, 1, 1, T]` or on the CPU `[B, h, T, T]`, shared by all layers: 0 for tokens, `MASK_VALUE` for padded keys."""
    mask = ((1.0 - inputs.attention_mask) * MASK_VALUE).unsqueeze([1, 2]).astype(dtype)
    rows, width = inputs.attention_mask.shape
    return cpu_ops.expand_contiguous(mask, [rows, heads, width, width])


def _at(x: Tensor, positions: Tensor) -> Tensor:
    """`[B, T, D]` at the given positions `[B, R]`: `[B, R, D]`."""
    batch, width, hidden = x.shape
    flat = paddle.arange(batch).unsqueeze(1) * width + positions
    return paddle.gather(x.reshape([-1, hidden]), flat.flatten()).reshape([batch, -1, hidden])


def _run_layer(
    layer: nn.Layer, x: Tensor, mask: Tensor | None, index: int, needs: Needs, result: EncoderTrace, finish: bool, rows: Tensor | None
) -> Tensor | None:
    """One post-norm encoder layer `[B, T, D] -> [B, T, D]`, in the order of operations of `paddle.nn.TransformerEncoderLayer`.

    With `finish` False it ends after the requested scores, queries, keys and values. With `rows` `[B, R, D]`, some of the
    positions of x, only their outputs are computed.
    """
    attention = layer.self_attn
    rows = x if rows is None else rows
    query = _split_heads(cpu_ops.linear(attention.q_proj, rows), attention)
    key = _split_heads(cpu_ops.linear(attention.k_proj, x), attention)
    if index in needs.qkv:
        result.query[index], result.key[index] = query, key
    if finish or index in needs.scores:
        scores = paddle.matmul(query * attention.head_dim**-0.5, key, transpose_y=True)
        scores = scores if mask is None else scores + _cut(mask, attention.num_heads, rows.shape[1])
    if index in needs.scores:
        result.scores[index] = scores
    if finish or index in needs.qkv:
        value = _split_heads(cpu_ops.linear(attention.v_proj, x), attention)
    if index in needs.qkv:
        result.value[index] = value
    if not finish:
        return None
    weights = cpu_ops.dropout(F.softmax(scores), attention.dropout, attention.training)
    context = paddle.matmul(weights, value).transpose([0, 2, 1, 3])
    context = context.reshape([0, 0, attention.num_heads * attention.head_dim])
    x = cpu_ops.normalise(layer.norm1, rows + _drop(layer.dropout1, cpu_ops.linear(attention.out_proj, context)))
    expanded = _drop(layer.dropout, layer.activation(cpu_ops.linear(layer.linear1, x)))
    return cpu_ops.normalise(layer.norm2, x + _drop(layer.dropout2, cpu_ops.linear(layer.linear2, expanded)))


def _cut(mask: Tensor, heads: int, rows: int) -> Tensor:
    """The mask for fewer heads and queries than it was expanded to; all are equal."""
    mask = mask if mask.shape[1] in (1, heads) else mask[:, :heads]
    return mask if mask.shape[2] in (1, rows) else mask[:, :, :rows]


def _drop(module: nn.Dropout, x: Tensor) -> Tensor:
    return cpu_ops.dropout(x, module.p, module.training)


def _split_heads(tensor: Tensor, attention: nn.Layer) -> Tensor:
    return tensor.reshape([0, 0, attention.num_heads, attention.head_dim]).transpose([0, 2, 1, 3])


def _finish_head(model: nn.Layer, last: Tensor, needs: Needs, result: EncoderTrace, head: str | None) -> None:
    if (over := head_of_model(model)) != "sequence":
        if needs.pooled:
            result.pooled = base_of(model).pooler(last)
        if needs.logits:
            result.logits = model.classifier(model.dropout(last) if over == "token" else last)  # PaddleNLP's span classes have no dropout
        return
    if needs.pooled and not hasattr(base_of(model), "pooler"):
        raise UserError(f"a {family_of_model(model).stem} has no pooler, whose output a loss needs.\nUse its hidden states or logits.")
    if hasattr(getattr(model, "classifier", None), "out_proj"):  # RoBERTa, ELECTRA: dense, activation and output inside the classifier
        if needs.logits:  # PaddleNLP's RoBERTa has another dropout before the head
            result.logits = model.classifier(model.dropout(last) if hasattr(model, "dropout") else last)
        return
    if hasattr(model, "pre_classifier"):  # DistilBERT
        if needs.logits:
            result.logits = model.classifier(model.dropout(F.relu(model.pre_classifier(last[:, 0]))))
        return
    result.pooled = base_of(model).pooler(last)
    if needs.logits:
        head = head or ("relu" if family_of_model(model).relu_head else "plain")
        features = F.relu(result.pooled) if head == "relu" else model.dropout(result.pooled)
        result.logits = model.classifier(features)
