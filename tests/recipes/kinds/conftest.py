"""An untrained encoder without dropout over a made-up vocabulary; it learns simple rules within seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import paddle
import pytest

from tests.recipes.conftest import distill, finetune, logged
from tests.tiny import WORDS
from tinybert.cli.main import main
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


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest, files: dict[str, Path]) -> tuple:
    """The options that name the rows of a test module: its `OWN`, and its `files` to train and to score on."""
    return (*request.module.OWN, "--train_file", files["train"], "--dev_file", files["dev"])


def write_files(folder: Path, name: str, write: Callable[[Path, int, int, bool], Path], train: int, dev: int, test: int) -> dict[str, Path]:
    """Files of one kind by split, written by `write(path, rows, seed, labelled)`. name: with `{}` for the split."""
    counts = {"train": train, "dev": dev, "test": test}
    return {split: write(folder / name.format(split), rows, seed, split != "test") for seed, (split, rows) in enumerate(counts.items())}


def train_teacher(encoder: Path, own: tuple, files: dict[str, Path], steps: int, out: Path, *more: object) -> Path:
    """Fine-tune the encoder on these files, evaluate it, and predict the test file; returns the run's folder."""
    paths = ("--train_file", files["train"], "--dev_file", files["dev"], "--test_file", files["test"])
    do = ("--do_train", "--do_eval", "--do_predict")
    finetune("--model_name_or_path", encoder, *own, *paths, *QUICK, *more, "--max_steps", steps, "--output_dir", out, *do)
    return out


def assert_resumes_exactly(line: tuple, folder: Path) -> None:
    """A run that is resumed from its first checkpoint ends with the loss of the whole run, from its last one with the same final model."""
    for name in ("whole", "cut"):
        distill(*line, "--max_steps", 20, "--output_dir", folder / name)
    final = (folder / "cut" / "final" / "config.json").read_text()
    first, *_, last = sorted((folder / "cut" / "checkpoints" / "prediction").iterdir())
    distill(*line, "--max_steps", 20, "--output_dir", folder / "cut", "--resume", last)
    assert (folder / "cut" / "final" / "config.json").read_text() == final
    distill(*line, "--max_steps", 20, "--output_dir", folder / "cut", "--resume", first)
    losses = [logged(folder / name, "prediction")[-1]["loss"] for name in ("whole", "cut")]
    assert losses[0] == losses[1]


def assert_compares(teacher: Path, rows: tuple, length: int, folder: Path) -> None:
    """`compare` trains, evaluates and times students of this kind."""
    line = (
        "compare",
        "--teacher_path",
        teacher,
        *rows,
        "--max_seq_length",
        length,
        "--students",
        "teacher:1",
        "--device",
        "cpu",
        "--threads",
        1,
    )
    assert main([*map(str, (*line, "--methods", "none", "tinybert", "--updates", 6, "--output_dir", folder))]) == 0
    record = json.loads((folder / "compare.json").read_text())
    assert [len(line["scores"]) for line in record["lines"]] == [1, 1] and record["teacher"]["score"] > 50
    assert all(line["measured"]["milliseconds"] > 0 for line in record["lines"])
