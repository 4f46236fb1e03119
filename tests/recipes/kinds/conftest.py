"""An untrained encoder over made-up words, without dropout, that learns rules on them within seconds."""

from __future__ import annotations

from pathlib import Path

import paddle
import pytest

from tests.tiny import WORDS
from tinybert.data.tokenizer import WordPiece
from tinybert.models.families import family
from tinybert.models.loading import build
from tinybert.models.saving import save_model

SHAPE = {
    "vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 64, "type_vocab_size": 2, "initializer_range": 0.1, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
QUICK = ("--logging_steps", 20, "--save_steps", 30, "--batch_size", 16, "--device", "cpu", "--max_seq_length", 32, "--learning_rate", 2e-3)


@pytest.fixture(scope="session")
def words_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the encoder, without a head."""
    folder = tmp_path_factory.mktemp("models") / "words"
    paddle.seed(1)
    save_model(folder, build(family("bert"), SHAPE, None, "encoder"), family("bert"), WordPiece(list(WORDS)), None)
    return folder
