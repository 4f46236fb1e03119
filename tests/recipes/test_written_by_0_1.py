"""Unfinished runs written by 0.1 (commit 593af89): `written_by_0_1` holds their inputs and the losses of 0.1's continuation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.recipes.conftest import distill, logged
from tinybert.models.loading import load_classifier

FOLDER = Path(__file__).with_name("written_by_0_1")
LINE = (
    "--task_name sst-2 --data_dir rows --teacher_path teacher --student_model_name_or_path student --output_dir {name} --max_steps 4 "
    "--batch_size 4 --learning_rate 1e-3 --logging_steps 1 --save_steps 2 --checkpoint_steps 2 --keep_checkpoints 1 --max_seq_length 16 "
    "--device cpu --threads 1 {more} --resume auto"
)
RUNS = {"both": "--stage both", "emd": "--method emd --beta 0.5"}


@pytest.mark.parametrize("name", RUNS)
def test_run_of_0_1_resumes_with_the_losses_of_0_1(tmp_path, monkeypatch, name):
    shutil.copytree(FOLDER, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    distill(*LINE.format(name=name, more=RUNS[name]).split())
    expected = json.loads((FOLDER / f"{name}.expected.json").read_text())
    found = [line for stage in ("intermediate", "prediction") for line in logged(Path(name), stage)]
    assert [(line["stage"], line["step"]) for line in found] == [(line["stage"], line["step"]) for line in expected]
    assert [line["loss"] for line in found] == pytest.approx([line["loss"] for line in expected], rel=1e-5)


@pytest.mark.both_lanes
def test_model_folder_of_0_1_loads():
    loaded = load_classifier(str(FOLDER / "both" / "best_model"), labels=("0", "1"), needs_head=True)
    assert loaded.config.num_hidden_layers == 1 and not loaded.report.fresh
