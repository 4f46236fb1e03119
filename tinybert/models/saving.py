"""Writes a model folder in PaddleNLP's format: config.json, model_state.pdparams, tokenizer_config.json, vocab.txt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from paddle import nn

from tinybert import storage
from tinybert.data.tokenizer import WordPiece
from tinybert.kinds.registry import kind_of_labels
from tinybert.models.configuration import ARCHITECTURE_KEYS, TrainedOn
from tinybert.models.families import Family
from tinybert.models.projections import Projection
from tinybert.models.relative import to_paddle_names
from tinybert.models.trace import base_of
from tinybert.models.weights import write_pdparams


def save_model(
    folder: str | Path,
    model: nn.Layer,
    family: Family,
    tokenizer: WordPiece,
    labels: tuple[str, ...] | None,
    projection: Projection | None = None,
    record: tuple[str, dict] | None = None,
    trained_on: TrainedOn | None = None,
    head_config: dict | None = None,
    head: dict[str, np.ndarray] | None = None,
) -> None:
    """Write a model for PaddleNLP's `from_pretrained` and this project; atomic.

    labels: of its head, empty if outputs have no names; None for an encoder without a head.
    head_config: entries of config.json about its head, `LoadedModel.head_config`; by default derived from the labels.
    projection: saved as `fit_dense` / `fit_denses` if a TinyBERT student will be trained further; None omits it.
    record: name and content of a JSON file about the model's origin.
    head: a masked-LM head with PaddleNLP's names, whose class is named in the configuration.
    trained_on: the training data, for prediction.
    """
    arrays = {name: value.astype("float32").numpy() for name, value in model.state_dict().items()}
    config = config_dict(model, family, labels, head_config) | (trained_on.entry() if trained_on else {})
    if head is not None:
        arrays |= head
        config["architectures"] = [f"{family.stem}ForMaskedLM"]
    if projection is not None and projection.mode != "none":
        arrays |= {f"{family.base}.{name}": array for name, array in projection.arrays().items()}
        config["fit_size"] = projection.width[1]
    if family.relative:
        arrays = to_paddle_names(arrays)
    with storage.new_folder(folder, replace=True, keep_others=True) as temporary:
        storage.write_json(temporary / "config.json", config)
        write_pdparams(temporary / "model_state.pdparams", arrays)
        tokenizer.save(temporary, tokenizer_class=family.tokenizer)
        if record is not None:
            storage.write_json(temporary / record[0], record[1])


def config_dict(model: nn.Layer, family: Family, labels: tuple[str, ...] | None, head: dict | None = None) -> dict:
    """The content of config.json for a model, including label names."""
    config = base_of(model).config
    values = {key: getattr(config, key) for key in ARCHITECTURE_KEYS if getattr(config, key, None) is not None}
    values.pop("fit_size", None)
    if family.keeps_projections:
        values["fit_size"] = config.hidden_size
    if labels is None:
        head = {}
    elif head is None:
        head = kind_of_labels(labels).head_config(labels)
    return {
        "architectures": [family.encoder.__name__ if labels is None else type(model).__name__],
        "model_type": family.model_type,
        **values,
        **head,
        "dtype": "float32",
    }
