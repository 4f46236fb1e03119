"""Tiny model folders that record their training data, and commands run in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import LABELS, classifier, word_pieces
from tinybert.cli.main import main
from tinybert.kinds.registry import KINDS
from tinybert.models.configuration import TrainedOn
from tinybert.models.families import family
from tinybert.models.saving import save_model


def trained_folder(
    folder: Path, model_type: str = "bert", labels=LABELS, pair: bool = False, length: int = 16, seed: int = 0, kind=None, **shape
):
    """Write a model folder as after training, and return the model; kind: None: according to the labels."""
    model = classifier(model_type, max(1, len(labels)), seed, **shape)
    rows = TrainedOn("tiny", pair, length)
    head = KINDS[kind].head_config(labels) if kind else None
    save_model(folder, model, family(model_type), word_pieces(), labels, head_config=head, trained_on=rows)
    return model


def run(command: str, **options: object) -> int:
    """`python -m tinybert COMMAND --name value ...`; True stands for a flag."""
    words = [command]
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return main(words)


@pytest.fixture
def single(tmp_path: Path) -> Path:
    """A classifier of single texts with at most 16 tokens."""
    trained_folder(tmp_path / "single")
    return tmp_path / "single"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A classifier of pairs."""
    trained_folder(tmp_path / "pairs", pair=True)
    return tmp_path / "pairs"
