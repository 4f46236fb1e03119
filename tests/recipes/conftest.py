"""A small teacher that has learnt the demo set, small data folders of three kinds of task, and recipes called as scripts call them."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import paddle
import pytest

from tests.tiny import SPECIAL, replace_weights
from tinybert.cli.main import main
from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.commands.general import GeneralDistillConfig
from tinybert.compare.runner import LOG, Commands, Done
from tinybert.data.places import demo_folder
from tinybert.data.tokenizer import WordPiece
from tinybert.models.families import family
from tinybert.models.loading import build
from tinybert.models.projections import Projection
from tinybert.models.saving import save_model
from tinybert.models.weights import read_pdparams

Run = Callable[..., Path]
LABELS = ("0", "1")
QUICK = ("--logging_steps", "2", "--save_steps", "3", "--batch_size", "8", "--device", "cpu")
DEMO = ("--task_name", "demo", "--max_seq_length", "32", *QUICK)
SHORT = ("--max_steps", "4")


def rows_of(path: Path) -> list[list[str]]:
    """The rows of a tab-separated file, header included."""
    with open(path, encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def write_rows(path: Path, rows: list[list[object]]) -> None:
    """Write a tab-separated file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


def demo_sentences() -> list[str]:
    """Every sentence of the demo's training rows."""
    return [row[0] for row in rows_of(demo_folder() / "train.tsv")[1:]]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Store tokens in a separate folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYBERT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def finetune(*words: object) -> None:
    """`run_glue.py` in this process."""
    from tinybert.recipes.finetune import finetune as recipe

    parsed = parse(FinetuneConfig, [*map(str, words)])
    recipe(parsed)


def distill(*words: object) -> None:
    """`task_distill.py` in this process."""
    from tinybert.recipes.task_distill import task_distill as recipe

    # the teachers of these tests have seen only a few rows; weak teachers are tested in test_teacher_check.py
    parsed = parse(TaskDistillConfig, [*map(str, words), "--allow_weak_teacher"])
    recipe(parsed)


def general(*words: object) -> None:
    """`general_distill.py` in this process."""
    from tinybert.recipes.general_distill import general_distill as recipe

    parsed = parse(GeneralDistillConfig, [*map(str, words)])
    recipe(parsed)


def record(folder: Path, stage: str) -> dict:
    """A stage's entry in run.json."""
    return json.loads((folder / "run.json").read_text())[stage]


def logged(folder: Path, stage: str, event: str | None = None) -> list[dict]:
    """The lines of a stage in log.jsonl: training steps, or an event."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["stage"] == stage and line.get("event") == event]


@pytest.fixture
def runs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a comparison or a search in this process; `test_demo` and `test_search` start real ones."""

    def run(commands: Commands, folder: Path, *_: object) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / LOG, "a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            return next((code for words in commands if (code := main(words))), 0)

    def run_all(jobs: Sequence[tuple[Commands, Path]], parallel: int, threads: int | None, done: Done, first_alone: bool) -> None:
        for number, job in enumerate(jobs):
            done(number, run(*job), 0.0)

    monkeypatch.setattr("tinybert.recipes.compare.run_alone", run)
    monkeypatch.setattr("tinybert.recipes.compare.run_local", run_all)
    monkeypatch.setattr("tinybert.recipes.search.run_alone", run)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained BERT of 4 x 32 with 4 heads, with the words of the demo data, without a classifier."""
    words = re.findall(r"[a-z0-9]+|[^\sa-z0-9]", " ".join(demo_sentences()).lower())
    vocabulary = [*SPECIAL, *dict.fromkeys(words)]
    config = {
        "vocab_size": len(vocabulary),
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
        "initializer_range": 0.1,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    paddle.seed(1)
    folder = tmp_path_factory.mktemp("models") / "encoder"
    save_model(folder, build(family("bert"), config, 2, "encoder"), family("bert"), WordPiece(vocabulary), ("0", "1"))
    arrays = read_pdparams(folder / "model_state.pdparams")
    replace_weights(folder, {n: a for n, a in arrays.items() if not n.startswith("classifier")})
    return folder


@pytest.fixture(scope="session")
def teacher(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a fine-tuning run on the demo data, long enough to learn its words."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    finetune(
        "--model_name_or_path", encoder, "--task_name", "demo", "--output_dir", folder, "--max_steps", 264, "--batch_size", 32,
        "--learning_rate", 1e-3, "--save_steps", 132, "--logging_steps", 22, "--max_seq_length", 32, "--device", "cpu",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def tinybert_folder(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained TinyBERT of 2 x 24 with per-layer projections, as in PaddleNLP's v2 checkpoints."""
    tokenizer = WordPiece.from_folder(encoder)
    config = {
        "vocab_size": tokenizer.vocab_size,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 128,
        "type_vocab_size": 2,
    }
    folder = tmp_path_factory.mktemp("students") / "tinybert"
    kind = family("tinybert")
    save_model(folder, build(kind, config, 2, "student"), kind, tokenizer, ("0", "1"), Projection("per_layer", 2, 24, 32))
    return folder


# === Data folders ===


def sentences(count: int, seed: int) -> list[str]:
    """Randomly drawn sentences of the demo data."""
    return random.Random(seed).sample(demo_sentences(), count)


@pytest.fixture
def sts_folder(tmp_path: Path) -> Path:
    """STS-B with made-up scores: 24 rows for training, 12 for evaluation, 6 for prediction."""
    header = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"]
    folder = tmp_path / "STS-B"
    for file, count, seed in (("train.tsv", 24, 1), ("dev.tsv", 12, 2), ("test.tsv", 6, 3)):
        first, second = sentences(count, seed), sentences(count, seed + 10)
        rows = [[i, *["-"] * 6, first[i], second[i] if i % 2 else first[i]] for i in range(count)]
        scores = [[] if file == "test.tsv" else [f"{0.3 * (i % 3) if i % 2 else 5 - 0.4 * (i % 3):.3f}"] for i in range(count)]
        last = [] if file == "test.tsv" else ["score"]
        write_rows(folder / file, [[*header, *last], *[[*row, *score] for row, score in zip(rows, scores, strict=True)]])
    return folder


@pytest.fixture
def mnli_folder(tmp_path: Path) -> Path:
    """A small MNLI: its two development and two test files have different rows."""
    folder, labels = tmp_path / "MNLI", ["contradiction", "entailment", "neutral"]
    for file, count, columns, seed in (
        ("train.tsv", 24, 12, 1),
        ("dev_matched.tsv", 12, 16, 2),
        ("dev_mismatched.tsv", 11, 16, 3),
        ("test_matched.tsv", 7, 10, 4),
        ("test_mismatched.tsv", 5, 10, 5),
    ):
        first, second = sentences(count, seed), sentences(count, seed + 10)
        rows = [[100 * seed + i, *["-"] * 7, first[i], second[i], *["-"] * (columns - 10)] for i in range(count)]
        if columns > 10:
            for i, row in enumerate(rows):
                row[-1] = labels[i % 3]
        write_rows(folder / file, [[f"column{i}" for i in range(columns)], *rows])
    return folder
