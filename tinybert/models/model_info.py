"""Information about a model without reading its weights."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinybert.data.fast_tokenizer import FastTokenizer, read_tokenizer
from tinybert.data.tokenizer import WordPiece
from tinybert.data.tokenizer_folder import check_tokenizer, is_word_piece
from tinybert.models.configuration import TrainedOn, architecture, config_file, labels_of, read_config, trained_on
from tinybert.models.families import Family, family_of_folder
from tinybert.models.hub import resolve
from tinybert.models.manifest import check_manifest
from tinybert.models.weights import read_weights, weights_files
from tinybert.safetensors_file import safetensors_names


@dataclass
class ModelInfo:
    """A model folder's content without the weights: configuration, tokenizer, labels, the weight file if there is one, training data."""

    config: object
    family: Family
    tokenizer: WordPiece | FastTokenizer
    labels: tuple[str, ...] | None
    weights: Path | None
    trained_on: TrainedOn


def read_model_info(path: str, do_lower_case: bool | None, role: str) -> ModelInfo:
    """Read a model folder without its weights.

    Raises:
        UserError: not a model folder.
    """
    folder = resolve(path, role)
    config = read_config(folder)
    source = str(config_file(folder))
    if is_word_piece(folder):
        check_tokenizer(folder)
    check_manifest(folder)
    family, _ = family_of_folder(config, _names(folder), source)
    known = family.config(**architecture(config, source))
    tokenizer = read_tokenizer(folder, do_lower_case)
    return ModelInfo(known, family, tokenizer, labels_of(config), _weights(folder), trained_on(config))


def _weights(folder: Path) -> Path | None:
    return next(iter(weights_files(folder)), None)


def _names(folder: Path) -> Iterator[str]:
    """The names of a folder's weights, as needed to determine the family; of a pickle all strings, which include the names."""
    path = _weights(folder)
    if path is None:
        return
    try:
        if path.suffix == ".safetensors":
            yield from safetensors_names(path)
            return
        if path.suffix == ".pdparams":
            with open(path, "rb") as file:
                yield from (word for _, word, _ in pickletools.genops(file) if isinstance(word, str))
            return
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # damaged: the reader reports it
    yield from read_weights(folder)[0]


# configuration keys that do not affect the output of a model that is not trained
_TRAINED_ONLY = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "initializer_range", "fit_size")


def function_words(path: str, family: Family, role: str) -> str:
    """A description of what affects a model's output in eval mode besides the weights: architecture, and family (head activation)."""
    folder = resolve(path, role)
    known = architecture(read_config(folder), str(config_file(folder)))
    return ", ".join([f"family {family.model_type}", *(f"{name} {known[name]}" for name in sorted(known) if name not in _TRAINED_ONLY)])
