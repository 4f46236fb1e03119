"""Small tasks and models for whole command lines, including teachers that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import SHAPE, WORDS, classifier, model_folder, replace_weights, word_pieces
from tinybert.models.families import family
from tinybert.models.saving import save_model
from tinybert.models.weights import read_pdparams

LABELS = ("0", "1")


@pytest.fixture(scope="package")
def world(tmp_path_factory) -> Path:
    """A folder with small SST-2 and RTE, a teacher, an encoder without head, and a TinyBERT."""
    root = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(3)
    for split, rows in (("train", 40), ("train_aug", 48), ("dev", 16)):
        lines = ["sentence\tlabel"]
        for _ in range(rows):
            label = int(random.integers(2))
            words = [f"word{random.integers(0, 15) + 15 * label}" for _ in range(random.integers(3, 9))]
            lines.append(" ".join(words) + f"\t{label}")
        (root / "glue/SST-2").mkdir(parents=True, exist_ok=True)
        (root / f"glue/SST-2/{split}.tsv").write_text("\n".join(lines) + "\n")
    shape = {"max_position_embeddings": 130}
    model_folder(root / "bert", labels=LABELS, num_hidden_layers=4, **shape)
    model_folder(root / "tinybert", "tinybert", LABELS, num_hidden_layers=2, **shape)
    model_folder(root / "three", labels=("a", "b", "c"), num_hidden_layers=4, **shape)
    save_model(root / "headless", classifier(num_hidden_layers=4, **shape), family("bert"), word_pieces(), LABELS)
    arrays = read_pdparams(root / "headless/model_state.pdparams")
    replace_weights(root / "headless", {n: a for n, a in arrays.items() if not n.startswith("classifier")})
    assert SHAPE["vocab_size"] == len(WORDS)
    return root
