"""Retraining a stage discards everything that depends on its earlier student."""

from __future__ import annotations

import json

import pytest

from tests.recipes.resume.killed_runs import Killed, assert_equal, everything, kill_after, run
from tinybert.engine import checkpoint
from tinybert.errors import UserError

SHORT = {"max_steps": 6}


def test_overwriting_run_stopped_in_stage_one_continues_to_its_stage_two(world, tmp_path, monkeypatch):
    again = {**SHORT, "learning_rate": 3e-3}
    run(world, tmp_path / "through", "both", **again)
    run(world, tmp_path / "run", "both", **SHORT)
    with monkeypatch.context() as patch:
        kill_after(patch, "intermediate", 3)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "both", overwrite_output_dir=True, **again)
    assert not (tmp_path / "run/best_model").exists() and not (tmp_path / "run/checkpoints/prediction").exists()
    assert set(json.loads((tmp_path / "run/eval_results.json").read_text())) <= {"intermediate"}
    run(world, tmp_path / "run", "both", resume="auto", **again)
    for stage in ("intermediate", "prediction"):
        assert_equal(everything(tmp_path / "run", stage), everything(tmp_path / "through", stage))


def test_longer_stage_one_is_followed_by_a_new_stage_two(world, tmp_path):
    run(world, tmp_path / "run", "both", **SHORT)
    run(world, tmp_path / "run", "both", max_steps=8, resume="auto", resume_changed=True)
    steps = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["stage"] == "prediction" and "loss" in line] == [3, 6, 8]
    begun = checkpoint.read(checkpoint.newest(tmp_path / "run/checkpoints/prediction")).state["fingerprint"]
    run(world, tmp_path / "alone", "both", max_steps=8)
    other = checkpoint.read(checkpoint.newest(tmp_path / "alone/checkpoints/prediction")).state["fingerprint"]
    assert begun["student_weights"] != other["student_weights"]  # stage one was resumed after six steps, with their schedule


def test_student_trained_again_cannot_continue_the_older_stage_two(world, tmp_path, caplog, capsys):
    run(world, tmp_path / "run", "both", **SHORT)
    run(world, tmp_path / "run", "intermediate", overwrite_output_dir=True, **{**SHORT, "learning_rate": 3e-3})
    assert "was trained from an earlier student" in capsys.readouterr().err
    student = {"student_layers": None, "student_hidden": None, "student_heads": None}
    named = {**SHORT, **student, "student_model_name_or_path": str(tmp_path / "run/best_inter_model")}
    with pytest.raises(UserError, match="student_weights: was") as error:
        run(world, tmp_path / "run", "prediction", resume="auto", **named)
    assert "--overwrite_output_dir" in str(error.value) and "--resume_changed" not in str(error.value)


def test_another_processor_or_version_is_reported_but_resumed(world, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("tinybert.runtime.computing", lambda: {"paddlepaddle": "3.2.0", "processor": "x86_64 avx2"})
        kill_after(patch, "finetune", 5)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "finetune", **SHORT)
    run(world, tmp_path / "run", "finetune", resume="auto", **SHORT)
    told = capsys.readouterr().err
    assert (
        "the run was started in another environment (" in told
        and "paddlepaddle: was '3.2.0'" in told
        and "processor: was 'x86_64 avx2'" in told
    )
