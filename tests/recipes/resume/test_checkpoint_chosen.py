"""Which checkpoint a run resumes from, and what happens to the others and to the best model."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.recipes.resume.killed_runs import Killed, assert_equal, everything, kill_after, run
from tinybert.engine import checkpoint
from tinybert.engine.loop import Loop
from tinybert.errors import UserError

SCORES = {2: 0.5, 4: 0.6}  # step 4 comes after the checkpoint to resume from, step 2 before it


@pytest.mark.parametrize("kind", ["finetune", "prediction"])
def test_best_model_on_disk_replaces_an_overwritten_best_step(world, tmp_path, monkeypatch, capsys, kind):
    output, recipe = tmp_path / "run", "finetune" if kind == "finetune" else "task_distill"
    steps: list[int] = []
    original = Loop._evaluate
    monkeypatch.setattr(Loop, "_evaluate", lambda self, *words: (steps.append(self.step), original(self, *words))[1])
    monkeypatch.setattr(f"tinybert.recipes.{recipe}.score", lambda *words, **more: {"accuracy": SCORES.get(steps[-1], 0.1)})
    with monkeypatch.context() as patch:
        kill_after(patch, kind, 5)
        with pytest.raises(Killed):
            run(world, output, kind, max_steps=8, save_steps=2, checkpoint_steps=3)
    run(world, output, kind, max_steps=8, save_steps=7, checkpoint_steps=3, resume="auto")
    assert steps == [2, 4, 7, 8]
    results = json.loads((output / "eval_results.json").read_text())[kind]
    assert (results["best_step"], results["best"]["accuracy"]) == (7, 0.1)
    assert "the best model (step 2) was overwritten" in capsys.readouterr().out
    best = next(output.glob("best_model*"))
    assert best.name == ("best_model_7" if kind == "finetune" else "best_model") and len(list(output.glob("best_model*"))) == 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["its own", "a copy"])
def test_resuming_an_older_checkpoint_keeps_its_state_and_drops_newer_ones(world, tmp_path, monkeypatch, elsewhere):
    output = tmp_path / "run"
    folder = output / "checkpoints" / "finetune"
    run(world, output, "finetune", max_steps=12, keep_checkpoints=9)
    older = folder / "step_00000004"
    if elsewhere:
        older = shutil.copytree(older, tmp_path / "copy")
    again = {"max_steps": 12, "learning_rate": 1e-4, "keep_checkpoints": 1, "resume_changed": True}
    for step, newest in ((5, 4), (7, 6)):  # killed before the first checkpoint of the new branch, and after it
        with monkeypatch.context() as patch:
            kill_after(patch, "finetune", step)
            with pytest.raises(Killed):
                run(world, output, "finetune", resume=str(older), **again)
        assert checkpoint.newest(folder).name == f"step_{newest:08d}"
    assert [path.name for path in folder.iterdir()] == ["step_00000006"]
    run(world, output, "finetune", resume="auto", **again)
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in log if "loss" in line]
    assert steps == sorted(set(steps)) and steps[-1] == 12
    assert log[-2]["lr"] < 1e-4


def test_checkpoint_path_is_used_only_for_its_own_stage(world, tmp_path, monkeypatch):
    output, more = tmp_path / "run", {"max_steps": 6}
    with monkeypatch.context() as patch:
        kill_after(patch, "prediction", 5)
        with pytest.raises(Killed):
            run(world, output, "both", **more)
    first, second = (output / "checkpoints" / stage / "step_00000004" for stage in ("intermediate", "prediction"))
    with pytest.raises(UserError, match="is a checkpoint of the intermediate stage, but this run has prediction"):
        run(world, output, "prediction", resume=str(first), resume_changed=True, **more)
    with pytest.raises(UserError, match="is a checkpoint of the prediction stage, but the intermediate stage in .* is not finished"):
        run(world, tmp_path / "other", "both", resume=str(second), resume_changed=True, **more)
    log = (output / "log.jsonl").read_text().splitlines()
    run(world, output, "both", resume=str(second), **more)  # the first stage is finished, the second is resumed
    now = (output / "log.jsonl").read_text().splitlines()
    assert now[: len(log) - 1] == log[:-1]
    run(world, tmp_path / "whole", "both", **more)
    whole = everything(tmp_path / "whole", "prediction")
    assert_equal(whole, everything(output, "prediction"))
    run(world, output, "both", resume=str(first), **more)  # the first is resumed, the second starts over
    assert_equal(whole, everything(output, "prediction"))
    assert len({path.name for path in (output / "checkpoints" / "prediction").iterdir()}) == 3


def test_checkpoint_of_another_stage_is_refused(world, tmp_path):
    output = tmp_path / "run"
    run(world, output, "prediction", max_steps=2)
    with pytest.raises(UserError, match="belongs to the prediction stage; expected one of the finetune stage"):
        run(world, tmp_path / "other", "finetune", resume=str(output / "checkpoints" / "prediction"), resume_changed=True)
