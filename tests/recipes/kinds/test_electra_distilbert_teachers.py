"""ELECTRA and DistilBERT as teachers and students: every method runs, students reload in PaddleNLP, and exports predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.recipes.conftest import distill, finetune, record
from tests.recipes.kinds.conftest import QUICK, SHAPE
from tests.tiny import SHAPES, WORDS, batch, learnable_rows, logits_of
from tinybert.cli.main import main
from tinybert.data.tokenizer import WordPiece
from tinybert.models.families import family
from tinybert.models.hub import resolve
from tinybert.models.loading import build, load_pretrained
from tinybert.models.saving import save_model

METHODS = [
    *((name, "both") for name in ("tinybert", "mud", "minilm", "minilmv2")),
    *((name, None) for name in ("emd", "pkd", "distilbert")),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> tuple:
    folder = tmp_path_factory.mktemp("rows") / "rows"
    learnable_rows(folder, {"train": 96, "dev": 40}, 0)
    return ("--task_name", "sst-2", "--data_dir", folder)


@pytest.fixture(scope="module", params=["electra", "distilbert"])
def model_type(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def teacher(model_type, rows, tmp_path_factory) -> Path:
    """A teacher that was fine-tuned from random weights; the ELECTRA projects its embeddings."""
    row, folder = family(model_type), tmp_path_factory.mktemp("models")
    paddle.seed(3)
    shape = {**SHAPE, **SHAPES.get(model_type, {})}
    save_model(folder / "encoder", build(row, shape, None, model_type), row, WordPiece(list(WORDS)), None)
    finetune("--model_name_or_path", folder / "encoder", *rows, *QUICK, "--max_steps", 60, "--output_dir", folder / "run")
    return folder / "run"


def in_paddlenlp(folder: Path, model_type: str):
    return family(model_type).head_class().from_pretrained(str(folder))


@pytest.mark.parametrize(("method", "stage"), METHODS)
def test_every_method_runs_with_the_teacher(method, stage, teacher, words_encoder, rows, tmp_path):
    more = ("--stage", stage) if stage else ()
    distill(
        "--teacher_path", teacher, "--student_model_name_or_path", words_encoder, *rows, *QUICK, "--max_steps", 4, "--method", method,
        *more, "--output_dir", tmp_path,
    )  # fmt: skip
    assert (tmp_path / "best_model" / "config.json").is_file()


def test_student_of_teacher_layers_learns_and_reloads_in_paddlenlp(teacher, model_type, rows, tmp_path):
    distill("--teacher_path", teacher, "--student_init", "teacher:2", *rows, *QUICK, "--max_steps", 40, "--output_dir", tmp_path)
    assert record(tmp_path, "prediction")["best"]["accuracy"] > 0.8
    student, config = load_pretrained(str(tmp_path / "best_model"))
    assert config["model_type"] == model_type and config["num_hidden_layers"] == 1
    theirs = in_paddlenlp(tmp_path / "best_model", model_type)
    np.testing.assert_array_equal(logits_of(theirs, batch()), logits_of(student.model, batch()))


def test_new_student_of_the_family_learns_from_it(teacher, model_type, rows, tmp_path):
    distill(
        "--teacher_path", teacher, "--model_type", model_type, "--student_layers", 1, "--student_hidden", 16, *rows, *QUICK,
        "--max_steps", 4, "--output_dir", tmp_path,
    )  # fmt: skip
    theirs = in_paddlenlp(tmp_path / "best_model", model_type)
    assert theirs.config.hidden_size == 16 and getattr(theirs.config, "embedding_size", 16) == 16


def test_student_pruned_gradually_reloads(teacher, rows, tmp_path):
    distill(
        "--teacher_path", teacher, "--student_init", "teacher:1,2", *rows, *QUICK, "--max_steps", 12, "--stage", "prediction",
        "--prune_schedule", "width", "--keep_heads", 1, "--ffn_hidden_dim", 16, "--emb_hidden_dim", 4, "--output_dir", tmp_path,
    )  # fmt: skip
    config = load_pretrained(str(tmp_path / "best_model"))[0].config
    assert (config.num_attention_heads, config.attention_head_size, config.intermediate_size, config.embedding_rank) == (1, 16, 16, 4)


def predicted(folder: Path, texts: Path, output: Path) -> list[str]:
    assert main(["predict", "--model_path", str(folder), "--input", str(texts), "--output", str(output)]) == 0
    return [line.split("\t")[-1] for line in output.read_text().splitlines()]


def test_teacher_and_its_export_predict_the_same(teacher, rows, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    texts = tmp_path / "texts.tsv"
    texts.write_text("sentence\nword3 word4\nword20 word21 word22\n")
    line = ("export", "--model_path", teacher, *rows, "--output_dir", tmp_path / "served", "--format", "onnx")
    assert main([str(word) for word in line]) == 0
    answers = [predicted(folder, texts, tmp_path / f"{folder.name}.tsv") for folder in (resolve(str(teacher)), tmp_path / "served")]
    assert len(answers[0]) == 3 and answers[0] == answers[1]
