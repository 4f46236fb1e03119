"""A smaller model from a model: which layers, heads, neurons and embedding rank to keep, and the pruning itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinybert.errors import UserError
from tinybert.models.loading import LoadedModel, LoadReport, build
from tinybert.models.pruned_shapes import FactorisedEmbedding, head_size_of
from tinybert.models.students import arrays_of_layers
from tinybert.models.trace import base_of
from tinybert.prune.factorise import truncated
from tinybert.prune.scores import head_scores, neuron_scores, strongest


@dataclass(frozen=True)
class Shape:
    """The shape of a pruned model: layers by their 1-based numbers, heads and neurons per layer, embedding rank (None: full)."""

    layers: tuple[int, ...]
    heads: int
    neurons: int
    rank: int | None

    @classmethod
    def of(cls, loaded: LoadedModel) -> Shape:
        """The current shape of a model."""
        config = loaded.config
        layers = tuple(range(1, config.num_hidden_layers + 1))
        return cls(layers, config.num_attention_heads, config.intermediate_size, getattr(config, "embedding_rank", None))


@dataclass(frozen=True)
class Kept:
    """The heads and neurons to keep in each layer, as indices: `heads[l]` strongest first, `neurons[l]` ascending."""

    heads: tuple[np.ndarray, ...]
    neurons: tuple[np.ndarray, ...]


def check_shape(loaded: LoadedModel, wanted: Shape) -> None:
    """Reject a shape that is larger than the model.

    Raises:
        UserError: says what the model has.
    """
    there = Shape.of(loaded)
    for option, asked, found, what in (
        ("keep_heads", wanted.heads, there.heads, "heads in a layer"),
        ("ffn_hidden_dim", wanted.neurons, there.neurons, "feed-forward neurons in a layer"),
        ("num_layers", len(wanted.layers), there.layers[-1], "layers"),
    ):
        if asked > found:
            raise UserError(f"--{option} {asked} exceeds the model's {found} {what}. Keep at most {found}.")
    if max(wanted.layers) > there.layers[-1]:
        raise UserError(f"--layers names layer {max(wanted.layers)}, but the model has {there.layers[-1]}. Number them from 1.")
    width = getattr(loaded.config, "embedding_size", None) or loaded.config.hidden_size
    if wanted.rank is None and there.rank is not None:
        raise UserError(f"the model's word embedding already has rank {there.rank}: give --emb_hidden_dim of at most {there.rank}.")
    limit = there.rank or width
    if wanted.rank is not None and wanted.rank > limit:
        found = f"rank {limit} from an earlier pruning" if there.rank else f"width {width}"
        whole = "leave it out" if there.rank else "-1 for the full matrix"
        raise UserError(f"--emb_hidden_dim {wanted.rank} exceeds the word embedding's {found}.\nGive at most {limit}, or {whole}.")


def needs_importance(loaded: LoadedModel, wanted: Shape) -> bool:
    """Whether heads or neurons have to be selected."""
    there = Shape.of(loaded)
    return wanted.heads < there.heads or wanted.neurons < there.neurons


def choose(loaded: LoadedModel, wanted: Shape, importance: dict[str, np.ndarray] | None, first_layer_heads: bool = False) -> Kept:
    """The strongest heads and neurons of every remaining layer; if all are kept, in their original order.

    importance: `[in, out]` by matrix, not needed if all are kept. first_layer_heads: select the heads of every layer by the scores of
    layer 1, as the published script does when all neurons are kept, because it does not advance its layer index then.
    """
    there, size = Shape.of(loaded), head_size_of(loaded.config)
    heads, neurons = [], []
    for layer in (number - 1 for number in wanted.layers):
        source = 0 if first_layer_heads else layer
        heads.append(np.arange(there.heads))
        if wanted.heads < there.heads:
            heads[-1] = strongest(head_scores(importance[f"layers.{source}.self_attn.out_proj"], size), wanted.heads)
        neurons.append(np.arange(there.neurons))
        if wanted.neurons < there.neurons:
            inner, outer = importance[f"layers.{layer}.linear1"], importance[f"layers.{layer}.linear2"]
            neurons[-1] = np.sort(strongest(neuron_scores(inner, outer), wanted.neurons))
    return Kept(tuple(heads), tuple(neurons))


def pruned(loaded: LoadedModel, wanted: Shape, kept: Kept) -> tuple[LoadedModel, float]:
    """The smaller model, and the share of the squares of the word embedding that its rank keeps (1.0 if unchanged).

    Everything else (positions, token types, norms, pooler, classifier) and the label order are unchanged.

    Source: ROSITA (Liu et al. 2021); llyx97/Rosita, its pruning script.
    """
    outputs = int(loaded.config.num_labels)
    arrays = arrays_of_layers(loaded, wanted.layers)
    base, size = loaded.family.base, head_size_of(loaded.config)
    for layer, (heads, neurons) in enumerate(zip(kept.heads, kept.neurons, strict=True)):
        columns = (heads[:, None] * size + np.arange(size)).ravel()
        _slice_layer(arrays, f"{base}.encoder.layers.{layer}", columns, neurons)
    energy = _factorise(arrays, loaded, wanted.rank)
    config = {
        **loaded.config.to_dict(),
        "num_hidden_layers": len(wanted.layers),
        "num_attention_heads": wanted.heads,
        "attention_head_size": size,
        "intermediate_size": wanted.neurons,
        "embedding_rank": wanted.rank,
    }
    model = build(loaded.family, config, outputs, "the pruned model", loaded.head)
    for name, parameter in model.state_dict().items():
        parameter.set_value(np.ascontiguousarray(arrays[name]))
    report = LoadReport(f"{loaded.report.source}, pruned", loaded=list(arrays))
    return LoadedModel(model, loaded.family, loaded.tokenizer, loaded.labels, {}, report, loaded.kind, loaded.decision), energy


def _slice_layer(arrays: dict[str, np.ndarray], layer: str, columns: np.ndarray, neurons: np.ndarray) -> None:
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
        arrays[f"{layer}.{name}.weight"] = arrays[f"{layer}.{name}.weight"][:, columns]
        arrays[f"{layer}.{name}.bias"] = arrays[f"{layer}.{name}.bias"][columns]
    arrays[f"{layer}.self_attn.out_proj.weight"] = arrays[f"{layer}.self_attn.out_proj.weight"][columns]
    arrays[f"{layer}.linear1.weight"] = arrays[f"{layer}.linear1.weight"][:, neurons]
    arrays[f"{layer}.linear1.bias"] = arrays[f"{layer}.linear1.bias"][neurons]
    arrays[f"{layer}.linear2.weight"] = arrays[f"{layer}.linear2.weight"][neurons]


def _factorise(arrays: dict[str, np.ndarray], loaded: LoadedModel, rank: int | None) -> float:
    words = f"{loaded.family.base}.embeddings.word_embeddings"
    if rank == Shape.of(loaded).rank:
        return 1.0
    table = arrays[f"{words}.weight"]
    if isinstance(base_of(loaded.model).embeddings.word_embeddings, FactorisedEmbedding):
        table = table @ arrays[f"{words}.up.weight"]
    arrays[f"{words}.weight"], arrays[f"{words}.up.weight"], energy = truncated(table, rank)
    return energy
