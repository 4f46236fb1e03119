"""`tinybert search`: its trials are ordinary runs, and an interrupted search is resumed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tinybert.cli.parser import parse
from tinybert.commands.search import SearchConfig
from tinybert.errors import Interrupted, UserError

pytest.importorskip("optuna", reason="the extra `search` is not installed")
from tinybert.recipes import search as recipe  # noqa: E402  optuna is optional

SPACE = ("--space", "learning_rate=1e-5..1e-3:log", "T=1,2")


@pytest.fixture
def base(tmp_path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text("task_name: demo\nteacher_path: T\nstudent_layers: 1\n")
    return path


@pytest.fixture
def runs(monkeypatch) -> list[tuple[str, dict]]:
    """The options of each run. No run starts: its score is T, and its exit code 3 for a learning rate above 5e-4."""
    seen: list[tuple[str, dict]] = []

    def run(commands, folder, interrupted):
        ((command, _, options, *more),) = commands
        values = json.loads(Path(options).read_text())
        seen.append((folder.name, values))
        if len(seen) == 3:
            raise Interrupted(signal.SIGTERM, interrupted)
        if values["learning_rate"] > 5e-4:
            return 3
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"intermediate": {}, "prediction": {"best": {"accuracy": values["T"], "step": 3}}}))
        return 0

    monkeypatch.setattr(recipe, "run_alone", run)
    return seen


def search(base: Path, output: Path, *more: str):
    return recipe.search(parse(SearchConfig, [*map(str, ("--base", base, "--output_dir", output, *SPACE, *more))]))


def test_interrupted_search_continues_its_run(base, runs, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(Interrupted, match="and --resume"):
        search(base, out, "--trials", "6")
    with pytest.raises(UserError, match="already contains a search"):
        search(base, out, "--trials", "6")
    result = search(base, out, "--trials", "6", "--resume")
    assert runs[3] == runs[2] and len({name for name, _ in runs}) == 6 and len(runs) == 7
    record = json.loads((out / "search.json").read_text())
    assert len(record["runs"]) + len(record["failed"]) == 6 and record["metric"] == "accuracy" and record["direction"] == "maximize"
    assert result.scores == {"accuracy": 2.0} and json.loads((out / "best.json").read_text())["T"] == 2.0
    assert json.loads((out / "best.json").read_text())["task_name"] == "demo"
    with pytest.raises(UserError, match="seed: was 42, is 1"):
        search(base, out, "--trials", "6", "--resume", "--seed", "1")


def test_options_that_the_command_rejects_are_rejected_before_any_run(base, runs, tmp_path):
    base.write_text(base.read_text() + "seed: -1\n")
    with pytest.raises(UserError, match="seed got -1"):
        search(base, tmp_path / "out")
    base.write_text("task_name: demo\nT: 1\n")
    with pytest.raises(UserError, match="contains T, which the search sets"):
        search(base, tmp_path / "out")
    assert not runs and not (tmp_path / "out").exists()


def test_options_file_among_the_runs_is_not_overwritten(base, runs, tmp_path):
    out = tmp_path / "out"
    search(base, out, "--trials", "1")
    inside = base.rename(out / "runs" / "base.yaml")
    with pytest.raises(UserError, match="which this run would overwrite"):
        search(inside, out, "--trials", "1", "--overwrite_output_dir")
    assert inside.is_file()


def test_losses_are_minimised_and_scores_maximised():
    assert recipe._direction("general", {}) == recipe._direction("distill", {"stage": "intermediate"}) == "minimize"
    assert recipe._direction("finetune", {}) == recipe._direction("distill", {"stage": "both"}) == "maximize"


def test_trial_is_an_ordinary_run(teacher, tmp_path):
    base = tmp_path / "base.yaml"
    lines = {"task_name": "demo", "teacher_path": teacher, "student_init": "teacher:2,4", "max_seq_length": 16, "threads": 1}
    lines |= {"max_steps": 2, "method": "logits", "device": "cpu", "allow_weak_teacher": True}
    base.write_text("".join(f"{name}: {value}\n" for name, value in lines.items()))
    result = search(base, tmp_path / "out", "--trials", "1")
    assert (result.best / "best_model" / "config.json").is_file() and 0 <= result.scores["accuracy"] <= 1
