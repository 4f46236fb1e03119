"""Runs that are killed at a given step, and everything that two runs must share to be equal."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.engine import checkpoint
from tinybert.engine.loop import Loop
from tinybert.recipes.finetune import finetune
from tinybert.recipes.task_distill import task_distill

CLOCKS = {"time", "samples_per_second", "tokens_per_second", "data_wait_share"}  # differ between any two runs


class Killed(BaseException):
    """Simulates SIGKILL: it is never caught and nothing is saved."""


def run(world, output: Path, kind: str, **more) -> None:
    """Fine-tune, or distil in the stage `kind`, in a dozen small steps."""
    values = {
        "task_name": "SST-2",
        "data_dir": world["data"],
        "output_dir": output,
        "max_seq_length": 16,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "logging_steps": 3,
        "save_steps": 5,
        "checkpoint_steps": 2,
        "keep_checkpoints": 3,
        "device": "cpu",
        **more,
    }
    if kind == "finetune":
        finetune(FinetuneConfig(model_name_or_path=world["teacher"], **values))
    else:
        values = {"student_layers": 2, "student_hidden": 12, "student_heads": 2, **values, "stage": kind}
        values["teacher_path"] = str(world["teacher"])
        values["allow_weak_teacher"] = True
        task_distill(TaskDistillConfig(**values))


def kill_after(monkeypatch, stage: str, step: int) -> None:
    """Kill the next run after this many steps of this stage."""
    original = Loop._one_step

    def one_step(self, stop):
        if self.run_folder.stage == stage and self.step == step:
            raise Killed
        return original(self, stop)

    monkeypatch.setattr(Loop, "_one_step", one_step)


def everything(output: Path, stage: str) -> dict:
    """The results of a run of this stage, without times."""
    saved = checkpoint.read(checkpoint.newest(output / "checkpoints" / stage))
    state = {name: value for name, value in saved.state.items() if "seconds" not in name}
    state["log_position"] = None  # the number of digits of times varies
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    results = json.loads((output / "eval_results.json").read_text())
    weights = {path.parent.name: path.read_bytes() for path in sorted(output.glob("*/model_state.pdparams"))}
    return {
        "weights": saved.weights,
        "optimizer": saved.optimizer,
        "participants": saved.participants,
        "state": state,
        "log": [{name: value for name, value in line.items() if name not in CLOCKS} for line in log],
        "results": results,
        "models": weights,
    }


def assert_equal(whole: dict, resumed: dict) -> None:
    """Both results are bitwise identical."""
    for part in ("weights", "optimizer", "participants"):
        assert whole[part].keys() == resumed[part].keys()
        for name, array in whole[part].items():
            assert array.tobytes() == resumed[part][name].tobytes(), f"{part} {name}"
    for part in ("state", "log", "results", "models"):
        assert whole[part] == resumed[part], part
