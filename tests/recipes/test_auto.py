"""`auto`: candidates within the limits, trained round by round, and the winner exported."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from tinybert.commands.auto import AutoConfig
from tinybert.commands.compare import CompareConfig
from tinybert.deploy.bench import Measured
from tinybert.errors import UserError
from tinybert.recipes import auto as recipe
from tinybert.recipes.result import Result


def measured(name: str, milliseconds: float, megabytes: float) -> Measured:
    return Measured(name, "paddle", "float32", 50.0, milliseconds, 0.1, milliseconds, 100.0, megabytes)


def config(tmp_path, **more) -> AutoConfig:
    return AutoConfig(task_name="demo", teacher_path="T", output_dir=tmp_path / "out", **more)


def test_slowest_candidates_within_the_limits_are_trained(tmp_path):
    found = [measured(name, ms, mb) for name, ms, mb in (("a", 1, 10), ("b", 2, 30), ("c", 3, 20), ("d", 9, 5))]
    assert recipe.within(config(tmp_path, max_ms=5, max_mb=20), found) == ["c", "a"]
    assert recipe.within(config(tmp_path), [*found, measured("e", 4, 1)]) == ["d", "e", "c", "b"]
    with pytest.raises(UserError, match=r"--max_ms 0.5: no candidate is within the limits \(a: 1.00 ms, 10.0 MB; "):
        recipe.within(config(tmp_path, max_ms=0.5), found)


def test_better_half_of_a_round_goes_on_without_failed_runs():
    lines = [
        {"student": name, "scores": scores, "mean": 1.0 * sum(scores)} for name, scores in (("a", [3]), ("b", []), ("c", [5]), ("d", [4]))
    ]
    assert recipe.best_half(lines) == ["c", "d"] and recipe.best_half(lines[:2]) == ["a"]
    with pytest.raises(UserError, match="every run failed: why"):
        recipe.best_half([{"student": "a", "scores": [], "error": "why"}])


def test_default_candidates_fit_the_teacher():
    teacher = SimpleNamespace(config=SimpleNamespace(num_hidden_layers=6, num_attention_heads=12, hidden_size=384))
    assert recipe.default_candidates(teacher) == ["teacher:2,4,6", "teacher:3,6", "4x312", "4x192", "2x312", "2x192", "2x96"]


def test_last_doubling_of_the_winner_tells_what_more_budget_may_bring():
    rounds = [
        {"updates": updates, "teacher": {"score": 90.0}, "lines": [{"student": "a", "scores": [mean], "mean": mean}]}
        for updates, mean in ((100, 70.0), (200, 74.0))
    ]
    assert "from 100 to 200 updates the score rose by +4.00 points" in recipe._closing(rounds, "a", 74.0, "accuracy")[1]


def test_folders_of_others_and_calibrated_int8_are_refused(tmp_path):
    with pytest.raises(UserError, match="calibrated on a trained model"):
        config(tmp_path, format="openvino", precision="int8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="contains no results of auto"):
        recipe._claim(config(tmp_path), tmp_path / "out")


@pytest.fixture
def comparisons(teacher, monkeypatch) -> list[CompareConfig]:
    """What the rounds were asked for; the later a student is named, the better it is, and its model is the teacher."""
    seen: list[CompareConfig] = []

    def compare(options: CompareConfig) -> Result:
        seen.append(options)
        lines = [{"student": name, "scores": [70.0 + i], "mean": 70.0 + i} for i, name in enumerate(options.students)]
        record = {"updates": 100 * len(seen), "teacher": asdict(measured("teacher", 5, 50)), "lines": lines}
        return Result(options.output_dir, best=teacher / "final", record=record)

    monkeypatch.setattr(recipe, "compare", compare)
    return seen


def test_half_of_the_students_goes_on_and_the_winner_is_exported(teacher, comparisons, tmp_path):
    options = {"task_name": "demo", "teacher_path": str(teacher), "students": ["teacher:2,4", "1x16", "2x16"], "budget_minutes": 4}
    result = recipe.auto(AutoConfig(**options, device="cpu", threads=1, max_seq_length=16, max_ms=1e4, output_dir=tmp_path / "out"))
    first, last = comparisons
    assert sorted(first.students) == sorted(options["students"]) and last.students == first.students[-1:]
    assert first.budget_minutes == last.budget_minutes == 2
    record = json.loads((tmp_path / "out" / "auto.json").read_text())
    assert record["winner"] == last.students[0] and record["score"] == pytest.approx(100 * result.scores["accuracy"])
    assert {one["name"]: one["megabytes"] > 0 for one in record["measured"]} == dict.fromkeys(options["students"], True)
    assert (tmp_path / "out" / "export" / "inference.pdiparams").is_file() and (tmp_path / "out" / "pareto.png").is_file()
    with pytest.raises(UserError, match="already contains results of auto"):
        recipe.auto(AutoConfig(**options, output_dir=tmp_path / "out"))


@pytest.mark.long
def test_rounds_are_comparisons_of_real_runs(teacher, tmp_path):
    options = {"task_name": "demo", "teacher_path": str(teacher), "students": ["teacher:2,4", "1x16"], "budget_minutes": 0.2}
    recipe.auto(AutoConfig(**options, device="cpu", threads=1, max_seq_length=16, output_dir=tmp_path / "out"))
    first, last = json.loads((tmp_path / "out" / "auto.json").read_text())["rounds"]
    assert len(first["lines"]) == 2 and len(last["lines"]) == 1 and all(line["scores"] for line in first["lines"])
