"""The scripts themselves: published command lines run, shortened, and what is wrong ends with exit code 2 and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import SHAPE, WORDS, classifier, model_folder, word_pieces
from tinybert.cli.main import run_script
from tinybert.models.families import family
from tinybert.models.saving import save_model
from tinybert.models.weights import read_pdparams, write_pdparams
from tinybert.settings.arguments import FinetuneArguments, TaskDistillArguments
from tinybert.storage import verify

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("0", "1")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with SST-2 and RTE in small, a teacher, an encoder without head, and a TinyBERT."""
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
    write_pdparams(root / "headless/model_state.pdparams", {n: a for n, a in arrays.items() if not n.startswith("classifier")})
    assert SHAPE["vocab_size"] == len(WORDS)
    return root


def run(world: Path, line: str, *more: str) -> subprocess.CompletedProcess:
    """A published command line in a process of its own, with the folders of `world` in it."""
    environment = {**os.environ, "TINYBERT_CACHE": str(world / "cache"), "DATA_HOME": str(world / "no data"), "MODEL_HOME": str(world)}
    words = [sys.executable, *line.format(world=world).split(), *more]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def succeed(world: Path, line: str, *more: str) -> str:
    done = run(world, line, *more)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def check_stage(folder: Path, stage: str, model: str) -> dict:
    verify(folder / model)
    entry = json.loads((folder / "run.json").read_text())[stage]
    assert entry["finished"] and entry["total_steps"] == 2
    return entry


def test_paddlenlp_command_lines_do_not_run(world):
    out = succeed(
        world,
        "-u benchmark/glue/run_glue.py --model_type bert --model_name_or_path {world}/bert --task_name SST-2 --max_seq_length 64 "
        "--batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 --logging_steps 10 --save_steps 10 --output_dir {world}/SST-2 "
        "--device gpu --glue_dir {world}/glue --max_steps 2",
    )
    assert out.splitlines()[0].startswith("fine-tuning ") and "on SST-2" in out.splitlines()[0]
    check_stage(world / "SST-2", "finetune", "best_model_2")
    common = (
        "task_distill.py --model_type tinybert --max_seq_length 64 --batch_size 32 --T 1 --teacher_model_type bert "
        "--teacher_path {world}/SST-2/best_model_2 --task_name SST-2 --logging_steps 10 --save_steps 10 --device gpu "
        "--glue_dir {world}/glue --max_steps 2 --allow_weak_teacher "
    )
    done = run(
        world,
        common + "--student_model_name_or_path {world}/tinybert --intermediate_distill --learning_rate 5e-5 --num_train_epochs 20 "
        "--output_dir {world}/paddlenlp",
    )
    assert done.returncode == 0, done.stderr
    assert "stage intermediate (--intermediate_distill)" in done.stdout.splitlines()[0]
    assert "DEVICE: gpu asked for" in done.stderr and "running on the CPU" in done.stderr
    check_stage(world / "paddlenlp", "intermediate", "best_inter_model")
    out = succeed(
        world,
        common + "--student_model_name_or_path {world}/paddlenlp/best_inter_model --learning_rate 3e-5 --num_train_epochs 3 "
        "--output_dir {world}/paddlenlp",
    )
    assert "stage prediction (spelled --teacher_path)" in out.splitlines()[0]
    entry = check_stage(world / "paddlenlp", "prediction", "best_model")
    assert entry["settings"]["learning_rate"] == {"value": 3e-5, "source": "given"}


def test_huawei_command_lines_do_not_run(world):
    common = (
        "task_distill.py --teacher_model {world}/bert --data_dir {world}/glue/SST-2 --task_name SST-2 --max_seq_length 128 "
        "--train_batch_size 32 --aug_train --do_lower_case --max_steps 2 --preset huawei --allow_weak_teacher "
    )
    out = succeed(world, common + "--student_model {world}/tinybert --output_dir {world}/tmp --num_train_epochs 10")
    assert "stage intermediate (spelled --teacher_model)" in out.splitlines()[0]
    entry = check_stage(world / "tmp", "intermediate", "best_inter_model")
    assert entry["data"]["train_aug"]["rows"] == 48
    out = succeed(
        world,
        common + "--pred_distill --student_model {world}/tmp --output_dir {world}/huawei --learning_rate 3e-5 --num_train_epochs 3 "
        "--eval_step 100",
    )
    assert "stage prediction (--pred_distill)" in out.splitlines()[0]
    entry = check_stage(world / "huawei", "prediction", "best_model")
    assert entry["models"]["student"]["source"] == str(world / "tmp/best_inter_model/model_state.pdparams")
    assert entry["settings"]["save_steps"] == {"value": 100, "source": "given"}


def test_missing_teacher_ends_in_a_traceback_or_another_exit_code(world):
    done = run(
        world,
        "task_distill.py --teacher_path {world}/none --student_model_name_or_path {world}/tinybert --task_name SST-2 "
        "--glue_dir {world}/glue --output_dir {world}/out0",
    )
    assert done.returncode == 2
    assert f"error: the teacher {world}/none does not exist" in done.stderr and "Traceback" not in done.stderr
    assert not (world / "out0").exists()


# === Wrong input, in this process: what the scripts call, with their exit code ===

DISTILL = "--teacher_path {world}/bert --student_model_name_or_path {world}/tinybert --task_name SST-2 --glue_dir {world}/glue "


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (DISTILL + "--task_name SST-3", "There is no task 'SST-3'. Did you mean SST-2?"),
        (DISTILL + "--teacher_path {world}/headless", "has no trained classifier"),
        (DISTILL + "--teacher_path {world}/three", "has 3 outputs, but the task has 2 labels (0, 1)"),
        (DISTILL + "--task_name RTE", "was trained with the labels 0, 1, but the task has entailment, not_entailment"),
        (DISTILL + "--task_name WNLI", "The data of WNLI is not there and could not be downloaded"),
        (DISTILL + "--task_name WNLI --intermediate_distill", "The data of WNLI is not there"),
        (DISTILL + "--data_dir {world}/bert", "lacks train.tsv, dev.tsv"),
        (DISTILL + "--student_model_name_or_path {world}/tinybrt", "tinybrt does not exist"),
        (DISTILL + "--student_model_name_or_path tinybert-4l-312d-v3", "Did you mean tinybert-4l-312d-v2"),
        (DISTILL + "--learning_rat 1", "--learning_rate"),
        (DISTILL + "--max_seq_length 200", "more than the 130 positions of the teacher"),
        (DISTILL + "--resume {world}/bert", "is no checkpoint"),
    ],
)
def test_wrong_input_of_distillation_leaves_files_or_another_exit_code(world, tmp_path, monkeypatch, capsys, line, words):
    _refused(world, tmp_path, monkeypatch, capsys, TaskDistillArguments, "tinybert.recipes.task_distill:task_distill", line, words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--model_name_or_path {world}/none --task_name SST-2", "the model {world}/none does not exist"),
        ("--model_name_or_path {world}/bert --task_name SST2B", "There is no task 'SST2B'"),
        ("--model_name_or_path {world}/bert --task_name QNLI", "The data of QNLI is not there and could not be downloaded"),
        ("--model_name_or_path {world}/headless --task_name SST-2 --do_eval", "has no trained classifier"),
        ("--model_name_or_path {world}/three --task_name SST-2 --do_predict", "has 3 outputs, but the task has 2 labels"),
    ],
)
def test_wrong_input_of_fine_tuning_leaves_files_or_another_exit_code(world, tmp_path, monkeypatch, capsys, line, words):
    line += " --glue_dir {world}/glue"
    _refused(world, tmp_path, monkeypatch, capsys, FinetuneArguments, "tinybert.recipes.finetune:finetune", line, words)


def _refused(world, tmp_path, monkeypatch, capsys, arguments_class, recipe, line, words) -> None:
    monkeypatch.setenv("TINYBERT_MIRROR", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODEL_HOME", str(tmp_path / "models"))
    before = _contents(world / "glue")
    argv = [*line.format(world=world).split(), "--output_dir", str(tmp_path / "out")]
    assert run_script(arguments_class, recipe, argv) == 2
    message = capsys.readouterr().err
    assert words.format(world=world) in message
    assert not (tmp_path / "out").exists()
    assert _contents(world / "glue") == before


def _contents(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


def test_finished_results_are_overwritten(world, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text('{"prediction": {"seed": 1}}')
    argv = [*DISTILL.format(world=world).split(), "--output_dir", str(out)]
    assert run_script(TaskDistillArguments, "tinybert.recipes.task_distill:task_distill", argv) == 2
    assert "already holds results of the prediction stage" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["run.json"]
    assert (out / "run.json").read_text() == '{"prediction": {"seed": 1}}'
