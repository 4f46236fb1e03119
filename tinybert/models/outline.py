"""What is known of a model without reading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinybert.data.tokenizer import WordPiece
from tinybert.models.configuration import architecture, check_tokenizer, config_file, labels_of, read_config
from tinybert.models.families import Family, family_of_config
from tinybert.models.hub import resolve
from tinybert.models.weights import weights_file


@dataclass
class Outline:
    """What a model folder says of its model without its weights: configuration, tokenizer, label names, the file with the weights."""

    config: object
    family: Family
    tokenizer: WordPiece
    labels: tuple[str, ...] | None
    weights: Path


def outline_of(path: str, do_lower_case: bool | None, role: str) -> Outline:
    """Read a model folder but for its weights.

    Raises:
        UserError: not a model folder, or no file with weights in it.
    """
    folder = resolve(path, role)
    config = read_config(folder)
    source = str(config_file(folder))
    kind = family_of_config(config, source)
    check_tokenizer(folder, role)
    known = kind.config(**architecture(config, source))
    return Outline(known, kind, WordPiece.from_folder(folder, do_lower_case), labels_of(config), weights_file(folder))
