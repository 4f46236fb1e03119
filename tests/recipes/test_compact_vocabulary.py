"""Training only the embedding rows in use gives the same results and is disabled where it could not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, demo_sentences, distill, finetune, record, write_rows
from tinybert.engine import checkpoint
from tinybert.models.weights import read_pdparams

STUDENT = ("--student_layers", 2, "--student_hidden", 24, "--student_heads", 4)


@pytest.fixture(scope="module")
def few_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SST-2 with a few rows of the demo data, which contain few of its words."""
    folder = tmp_path_factory.mktemp("data") / "SST-2"
    sentences = demo_sentences()[:30]
    for file, rows in (("train.tsv", sentences[:20]), ("dev.tsv", sentences[20:])):
        write_rows(folder / file, [["sentence", "label"], *([text, i % 2] for i, text in enumerate(rows))])
    return folder


def task(folder: Path) -> tuple:
    return "--task_name", "SST-2", "--data_dir", folder, "--max_seq_length", "32", *QUICK


def everything(out: Path, stage: str) -> dict[str, np.ndarray]:
    """Everything a run has written: its models, and the weights and states of its last checkpoint."""
    saved = checkpoint.read(checkpoint.newest(out / "checkpoints" / stage))
    found = {f"weights {name}": array for name, array in saved.weights.items()}
    found |= {f"optimizer {name}": array for name, array in saved.optimizer.items()}
    for path in sorted(out.glob("*/model_state.pdparams")):
        found |= {f"{path.parent.name} {name}": array for name, array in read_pdparams(path).items()}
    return found


def assert_same(one: Path, other: Path, stage: str) -> None:
    found, expected = everything(one, stage), everything(other, stage)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape
        # Adam turns pure rounding noise into full steps: the bias of keys has no true gradient
        if "k_proj.bias" not in name:
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("stage", "more"),
    [
        ("both", ()),
        ("both", ("--preset", "huawei", "--num_train_epochs", "1")),
        ("prediction", ("--method", "emd", "--beta", "1")),
        ("prediction", ("--gradient_accumulation_steps", "2", "--weight_decay", "0")),
    ],
    ids=["sound", "huawei", "emd", "accumulation without decay"],
)
def test_compact_vocabulary_gives_the_same_models_and_checkpoints(teacher, few_words, tmp_path, capsys, stage, more):
    line = ("--teacher_path", teacher, *STUDENT, "--stage", stage, "--max_steps", 5, *task(few_words), *more)
    for asked in ("auto", "False"):
        distill(*line, "--output_dir", tmp_path / asked, "--compact_vocabulary", asked)
        shown = capsys.readouterr().out
        assert ("the rest do not occur in this data" in shown) == (asked == "auto")
        assert ("rows: --compact_vocabulary False" in shown) == (asked == "False")
    assert_same(tmp_path / "auto", tmp_path / "False", "prediction")


def test_compact_fine_tuning_gives_the_same_model_and_predictions(encoder, few_words, tmp_path, capsys):
    write_rows(few_words / "test.tsv", [["index", "sentence"], *([i, text] for i, text in enumerate(demo_sentences()[40:50]))])
    for asked in ("True", "False"):
        finetune(
            "--model_name_or_path", encoder, "--output_dir", tmp_path / asked, "--max_steps", 5, *task(few_words),
            "--do_train", "--do_eval", "--do_predict", "--compact_vocabulary", asked,
        )  # fmt: skip
    assert_same(tmp_path / "True", tmp_path / "False", "finetune")
    one, other = ((tmp_path / asked / "SST-2.tsv").read_text() for asked in ("True", "False"))
    assert one == other


def test_checkpoint_of_the_whole_table_resumes_with_a_compact_one(encoder, few_words, tmp_path, capsys):
    line = ("--model_name_or_path", encoder, "--max_steps", 6, "--checkpoint_steps", 3, *task(few_words))
    finetune(*line, "--output_dir", tmp_path / "whole", "--compact_vocabulary", "False")
    checkpoint_of_three = tmp_path / "whole/checkpoints/finetune/step_00000003"
    finetune(*line, "--output_dir", tmp_path / "cut", "--resume", checkpoint_of_three)
    assert "do not occur in this data" in capsys.readouterr().out
    assert record(tmp_path / "cut", "finetune")["finished"]
    saved = [checkpoint.read(checkpoint.newest(tmp_path / name / "checkpoints/finetune")) for name in ("whole", "cut")]
    for name, array in saved[0].weights.items():
        if "k_proj.bias" not in name:
            np.testing.assert_allclose(saved[1].weights[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--optimizer", "adam"), "the L2 penalty of --optimizer adam moves every row"),
        (("--prune_schedule", "depth", "--num_layers", "1"), "--prune_schedule changes the embedding during training"),
    ],
    ids=["adam", "pruning"],
)
def test_compact_vocabulary_is_disabled_where_every_row_moves(teacher, few_words, tmp_path, capsys, more, reason):
    distill(
        "--teacher_path", teacher, *STUDENT, "--stage", "prediction", "--output_dir", tmp_path / "run", "--max_steps", 10, *task(few_words),
        "--compact_vocabulary", "True", *more,
    )  # fmt: skip
    shown = capsys.readouterr()
    assert f"rows: {reason}" in shown.out
    assert f"--compact_vocabulary True is not used: {reason}" in shown.out + shown.err
