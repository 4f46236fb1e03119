"""`tb.auto` and `tb.search` pass their objects on as the options of the commands."""

from __future__ import annotations

import json

import pytest

import tinybert as tb
from tests.api.conftest import STEPS
from tinybert.api import searching
from tinybert.recipes.result import Result


@pytest.fixture
def called(monkeypatch, folder):
    """The command and options of the last call; a search's base file is read."""
    seen: dict = {}

    def run_command(name, values):
        seen.update(values, command=name)
        if "base" in values:
            seen["base"] = json.loads(values["base"].read_text())
        return Result(values["output_dir"], {"accuracy": 0.5}, folder / "teacher", record={"winner": "1x16"})

    monkeypatch.setattr(searching, "run_command", run_command)
    return seen


def test_auto_passes_teacher_data_and_limits(called, folder, tmp_path):
    data = tb.load_task("SST-2", folder / "SST-2")
    found = tb.auto(folder / "teacher", data, max_ms=3, output_dir=tmp_path / "out", resume=True)
    assert (called["command"], called["max_ms"], called["resume"]) == ("auto", 3, True) and "overwrite_output_dir" not in called
    assert called["task_name"] == "SST-2" and called["teacher_path"] == str(folder / "teacher")
    assert found.best.path == folder / "teacher" and found.scores == {"accuracy": 0.5} and found.record["winner"] == "1x16"


def test_search_passes_the_options_that_distill_would_have(called, folder, tmp_path):
    data = tb.load_task("SST-2", folder / "SST-2")
    student, training = tb.student(layers=1, hidden=8, heads=2), tb.Training(**STEPS)
    tb.search(
        folder / "teacher", student, data, space=["T=1,2"], method=tb.Logits(), training=training, trials=3, output_dir=tmp_path / "out",
        allow_weak_teacher=True,
    )  # fmt: skip
    assert (called["command"], called["space"], called["trials"], called["budget_minutes"]) == ("search", ["T=1,2"], 3, None)
    assert {**training.options, "method": "logits", "student_layers": 1, "allow_weak_teacher": True}.items() <= called["base"].items()
    assert called["base"]["teacher_path"] == [str(folder / "teacher")] and "output_dir" not in called["base"]
