"""Resuming with other data or arguments needs --resume_changed; harmless changes do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.recipes.resume.killed_runs import Killed, kill_after, run
from tinybert import storage
from tinybert.engine import checkpoint
from tinybert.engine.loop import Loop
from tinybert.errors import UserError


def test_other_data_or_arguments_are_refused_unless_allowed(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, "finetune", 5)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "finetune", max_steps=8)
    with pytest.raises(UserError, match=r"learning_rate: was 0.001, is 0.002"):
        run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", learning_rate=2e-3)
    rows = (world["data"] / "train.tsv").read_text()
    (world["data"] / "train.tsv").write_text(rows + "word1 word2\t0\n")
    try:
        with pytest.raises(UserError, match="train_data: was"):
            run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto")
    finally:
        (world["data"] / "train.tsv").write_text(rows)
    run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", learning_rate=2e-3, resume_changed=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finetune"]["finished"]


def test_another_teacher_label_order_is_refused(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, "prediction", 5)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "prediction", max_steps=6)
    saved = checkpoint.newest(tmp_path / "run" / "checkpoints" / "prediction")
    swapped = {"max_steps": 6, "resume": "auto", "teacher_labels": "1,0"}
    with pytest.raises(UserError, match="teacher_labels: was '0, 1', is '1, 0'"):
        run(world, tmp_path / "run", "prediction", **swapped)
    _forget(saved, "teacher_labels", "student")
    with pytest.raises(UserError, match="teacher_labels: was '0, 1', is '1, 0'"):
        run(world, tmp_path / "run", "prediction", **swapped)
    run(world, tmp_path / "run", "prediction", max_steps=6, resume="auto", teacher_labels="0,1")  # the same as in the teacher's folder
    with pytest.raises(UserError, match="is finished, with other .*\n  teacher_labels: was '0, 1', is '1, 0'"):
        run(world, tmp_path / "run", "prediction", **swapped)


def test_student_of_another_shape_is_refused(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, "intermediate", 3)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "intermediate", max_steps=4)
    wider = {"max_steps": 4, "resume": "auto", "student_hidden": 18}
    with pytest.raises(UserError, match="student: was 'tinybert 2 x 12, 2 heads, .*, is 'tinybert 2 x 18, 2 heads, "):
        run(world, tmp_path / "run", "intermediate", **wider)
    with pytest.raises(UserError, match=r"of shape \[40, 12\], this model \[40, 18\]"):
        run(world, tmp_path / "run", "intermediate", resume_changed=True, **wider)


def test_other_evaluation_and_logging_intervals_do_not_prevent_resuming(world, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        kill_after(patch, "finetune", 5)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "finetune", max_steps=8)
    run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", save_steps=7, logging_steps=3)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finetune"]["finished"]
    run(world, tmp_path / "run", "finetune", max_steps=8, resume="auto", save_steps=2)
    assert "fine-tuning is finished" in capsys.readouterr().out


def test_checkpoint_after_the_new_last_step_is_evaluated(world, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, "finetune", 5)
        with pytest.raises(Killed):
            run(world, tmp_path / "run", "finetune", max_steps=8, save_steps=8)
    run(world, tmp_path / "run", "finetune", max_steps=2, save_steps=8, resume="auto", resume_changed=True)
    results = json.loads((tmp_path / "run" / "eval_results.json").read_text())["finetune"]
    assert results["best_step"] == 4 and results["best"]


@pytest.mark.parametrize("kind", ["finetune", "intermediate", "prediction"])
def test_changed_dev_set_discards_previous_best_scores(world, tmp_path, monkeypatch, capsys, kind):
    world = {**world, "data": Path(shutil.copytree(world["data"], tmp_path / "data"))}
    output, more = tmp_path / "run", {"max_steps": 8, "save_steps": 2}
    name = {"intermediate": "held_out_loss"}.get(kind, "accuracy")
    steps: list[int] = []
    original = Loop._evaluate
    monkeypatch.setattr(Loop, "_evaluate", lambda self, *words: (steps.append(self.step), original(self, *words))[1])
    recipe, scorer = "finetune" if kind == "finetune" else "task_distill", "held_out_loss" if kind == "intermediate" else "score"
    before, later = (0.1, 0.5) if kind == "intermediate" else (0.9, 0.5)  # no later step is as good as the first one
    monkeypatch.setattr(f"tinybert.recipes.{recipe}.{scorer}", lambda *words, **more: {name: before if steps[-1] == 2 else later})
    with monkeypatch.context() as patch:
        kill_after(patch, kind, 5)
        with pytest.raises(Killed):
            run(world, output, kind, **more)
    with open(world["data"] / "dev.tsv", "a") as file:
        file.write("word1 word2\t0\n")
    with pytest.raises(UserError, match="belongs to a run with other data or arguments:\n  dev_rows: was"):
        run(world, output, kind, resume="auto", **more)
    _forget(checkpoint.newest(output / "checkpoints" / kind), "dev_rows")  # as in an older version
    with pytest.raises(UserError, match="belongs to a run with other data or arguments:\n  dev_rows: was"):
        run(world, output, kind, resume="auto", **more)
    run(world, output, kind, resume="auto", resume_changed=True, **more)
    assert "previous best scores are discarded" in capsys.readouterr().out
    results = json.loads((output / "eval_results.json").read_text())[kind]
    assert (results["best_step"], results["best"][name]) == (6, later)


@pytest.mark.parametrize("kind", ["finetune", "prediction"])
def test_checkpoint_without_dev_rows_of_an_older_version_is_resumed(world, tmp_path, monkeypatch, capsys, kind):
    output, more = tmp_path / "run", {"max_steps": 8, "save_steps": 2}
    with monkeypatch.context() as patch:
        kill_after(patch, kind, 5)
        with pytest.raises(Killed):
            run(world, output, kind, **more)
    _forget(checkpoint.newest(output / "checkpoints" / kind), "dev_rows")
    record = json.loads((output / "run.json").read_text())
    for part in ("data", "identity"):
        record[kind][part] = {name: value for name, value in record[kind][part].items() if not name.startswith("dev")}
    (output / "run.json").write_text(json.dumps(record))
    run(world, output, kind, resume="auto", **more)
    assert "are discarded" not in capsys.readouterr().out


def _forget(saved: Path, *names: str) -> None:
    """Remove entries from a checkpoint's fingerprint, as in older versions."""
    state = json.loads((saved / "state.json").read_text())
    for name in names:
        del state["fingerprint"][name]
    with storage.new_folder(saved, replace=True) as new:
        for file in saved.glob("*.safetensors"):
            shutil.copy(file, new)
        (new / "state.json").write_text(json.dumps(state))
