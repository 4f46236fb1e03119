"""`auto`: candidates within the limits, trained round by round, and the winner exported."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import tiny
from tinybert import storage
from tinybert.commands.auto import AutoConfig
from tinybert.commands.compare import CompareConfig
from tinybert.compare.budget import BudgetError
from tinybert.data.fast_tokenizer import read_tokenizer
from tinybert.deploy.bench import Measured
from tinybert.deploy.export_session import ExportSession
from tinybert.errors import Interrupted, UserError
from tinybert.models import hub
from tinybert.recipes import auto as recipe
from tinybert.recipes import output_folder
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


@pytest.mark.parametrize("language", ["en", "zh"])
def test_default_candidates_fit_the_teacher(language):
    general = f"general-4x312-{language}"
    shape = SimpleNamespace(num_hidden_layers=6, num_attention_heads=12, hidden_size=384)
    teacher = SimpleNamespace(config=shape, tokenizer=read_tokenizer(hub.resolve(general)))
    assert recipe.default_candidates(teacher) == ["teacher:2,4,6", "teacher:3,6", general, "4x192", "2x312", "2x192", "2x96"]
    teacher.tokenizer = read_tokenizer(hub.resolve(general), do_lower_case=False)
    assert recipe.default_candidates(teacher)[2:4] == ["4x312", "4x192"]  # text would be tokenised differently
    teacher.tokenizer, shape.hidden_size = read_tokenizer(hub.resolve(general)), 312
    assert recipe.default_candidates(teacher) == ["teacher:2,4,6", "teacher:3,6", "4x192", "2x192", "2x96"]  # smaller than the teacher


def test_last_doubling_of_the_winner_tells_what_more_budget_may_bring():
    rounds = [
        {"updates": updates, "more_rows": False, "teacher": {"score": 90.0}, "lines": [{"student": "a", "scores": [mean], "mean": mean}]}
        for updates, mean in ((100, 70.0), (200, 74.0))
    ]
    assert "from 100 to 200 updates the score rose by 4.00 points" in recipe._closing(rounds, "a", 74.0, "accuracy")[1]
    rounds[1]["lines"][0]["mean"] = 70.0
    assert "from 100 to 200 updates the score did not rise" in recipe._closing(rounds, "a", 70.0, "accuracy")[1]


def test_calibrated_int8_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match="calibrated on a trained model"):
        config(tmp_path, format="openvino", precision="int8")


def test_winner_is_the_best_of_all_rounds_and_of_equals_the_latest():
    def part(updates, **means):
        return {"lines": [{"student": name, "scores": [mean], "mean": mean, "folder": f"{updates}"} for name, mean in means.items()]}

    assert recipe.best_line([part(1, a=70, b=75), part(2, a=80), part(3, a=78)])["folder"] == "2"
    assert recipe.best_line([part(1, a=70, b=80), part(2, a=80)])["folder"] == "2"


MINUTES = 1.5  # of each comparison


@pytest.fixture
def model(tmp_path) -> Path:
    """A teacher that has learnt nothing."""
    tiny.model_folder(tmp_path / "model", labels=("0", "1"), num_hidden_layers=4)
    return tmp_path / "model"


@pytest.fixture
def comparisons(model, monkeypatch) -> list[CompareConfig]:
    """What the rounds were asked for, on a clock of its own; the later a student is named, the better it is, and its model is the teacher.

    `comparisons.raises` has exceptions by the number of the comparison at whose end they are raised.
    """

    class Seen(list):
        measured = 0
        now = 0.0

    seen = Seen()
    seen.raises = {}
    monkeypatch.setattr(output_folder, "time", SimpleNamespace(monotonic=lambda: seen.now))

    def compare(options: CompareConfig) -> Result:
        seen.append(options)
        seen.now += 60 * MINUTES
        if len(seen) in seen.raises:
            raise seen.raises[len(seen)]
        lines = [{"student": name, "scores": [70.0 + i], "mean": 70.0 + i, "folder": str(model)} for i, name in enumerate(options.students)]
        record = {"updates": 100 * len(seen), "teacher": asdict(measured("teacher", 5, 50)), "lines": lines}
        options.output_dir.mkdir(exist_ok=True)
        storage.write_json(options.output_dir / "compare.json", record)
        return Result(options.output_dir, record=record)

    monkeypatch.setattr(recipe, "compare", compare)
    return seen


@pytest.fixture
def unmeasured(comparisons, monkeypatch) -> None:
    """Neither the candidates nor the winner are exported."""

    def times(config, task, data, candidates):
        comparisons.measured += 1
        return [measured(name, 3 - number, 10) for number, name in enumerate(candidates)]

    monkeypatch.setattr(recipe, "_measured", times)
    monkeypatch.setattr(recipe, "export", lambda _: Result(Path(), record={"exports": [{"measures": {"score": 71.0}}]}))


@pytest.fixture
def call(model, tmp_path):
    """`auto` with three students and 4 minutes."""
    options = {"task_name": "demo", "teacher_path": str(model), "students": ["teacher:2,4", "1x16", "2x16"], "budget_minutes": 4}
    options |= {"device": "cpu", "threads": 1, "max_seq_length": 16, "max_ms": 1e4, "output_dir": tmp_path / "out"}
    return lambda **more: recipe.auto(AutoConfig(**{**options, **more}))


def test_half_of_the_students_goes_on_and_the_winner_is_exported(call, comparisons, same_process, tmp_path):
    result = call()
    first, last = comparisons
    assert sorted(first.students) == ["1x16", "2x16", "teacher:2,4"] and last.students == first.students[-1:]
    assert (first.budget_minutes, last.budget_minutes) == (pytest.approx(4 / 3), 4 - MINUTES)
    record = json.loads((tmp_path / "out" / "auto.json").read_text())
    assert record["winner"] == last.students[0] and record["score"] == pytest.approx(100 * result.scores["accuracy"])
    assert {one["name"]: one["megabytes"] > 0 for one in record["measured"]} == dict.fromkeys(first.students, True)
    assert (tmp_path / "out" / "export" / "inference.pdiparams").is_file() and (tmp_path / "out" / "pareto.png").is_file()
    with pytest.raises(UserError, match="already contains results of auto"):
        call()


def test_winner_whose_score_drops_is_exported_with_a_warning(call, comparisons, same_process, tmp_path, monkeypatch, capsys):
    measures = ExportSession._measures
    monkeypatch.setattr(ExportSession, "_measures", lambda *values: measures(*values) | {"score_change": -2.0})
    call(students=["teacher:2,4"])
    assert "paddle float32: accuracy drops by 2.00 points" in capsys.readouterr().err
    assert (tmp_path / "out" / "export" / "inference.pdiparams").is_file()


def test_resumed_call_finds_the_winner_of_an_uninterrupted_one(call, comparisons, unmeasured, tmp_path):
    whole = call(output_dir=tmp_path / "whole").record
    del comparisons[:]
    comparisons.raises = {1: Interrupted(signal.SIGTERM, "in the first round"), 3: Interrupted(signal.SIGTERM, "in the last round")}
    for message in ("in the first round", "in the last round"):
        with pytest.raises(Interrupted, match=message):
            call(resume=True)
    resumed = call(resume=True).record
    assert resumed["winner"] == whole["winner"] and comparisons.measured == 2
    assert [len(options.students) for options in comparisons] == [3, 3, 1, 1]  # the finished round is not trained again
    assert [options.budget_minutes for options in comparisons] == pytest.approx([4 / 3, 4 / 3, 1, 1])  # each with what was planned
    assert resumed["minutes"] == 4 * MINUTES


@pytest.mark.parametrize("name", ["aug_file", "unlabelled_file"])
def test_additional_rows_are_kept_if_they_help(call, comparisons, unmeasured, tmp_path, name):
    rows = tmp_path / "rows.txt"
    rows.write_text("a fine film\n")
    options = {"use_aug": True, "aug_file": rows} if name == "aug_file" else {"unlabelled_file": [rows]}
    record = call(**options, budget_minutes=6).record
    assert [bool(getattr(options, name)) for options in comparisons] == [True, True, False]
    assert comparisons[2].students == comparisons[1].students and [part["more_rows"] for part in record["rounds"]] == [True, True, False]


def test_gain_by_additional_rows_is_reported():
    rounds = [
        {"updates": 100, "more_rows": more, "teacher": {"score": 90.0}, "lines": [{"student": "a", "scores": [mean], "mean": mean}]}
        for more, mean in ((True, 70.0), (True, 74.0), (False, 72.0))
    ]
    _, gain, rose = recipe._closing(rounds, "a", 74.0, "accuracy")
    assert gain == "with the additional rows 74.00, on the labelled rows alone 72.00, in the same time" and "rose by 4.00" in rose
    assert "accuracy, 100 updates on the labelled rows alone" in recipe._rounds_table(rounds, "accuracy")


def test_a_budget_that_ends_early_leaves_out_rounds(call, comparisons, unmeasured, tmp_path):
    result = call(budget_minutes=MINUTES)
    assert len(comparisons) == 1 and len(result.record["rounds"]) == 1 and result.record["winner"] == comparisons[0].students[-1]


def test_a_small_budget_is_spent_on_fewer_students(call, comparisons, unmeasured):
    comparisons.raises = {1: BudgetError("of a round", minutes=3)}
    students = ["teacher:2,4", "1x16", "2x16", "2x32"]
    record = call(students=students, budget_minutes=9).record
    assert [options.students for options in comparisons] == [students, students[:2], students[1:2]]  # the slowest ones, then the better
    assert [len(part["lines"]) for part in record["rounds"]] == [2, 1]


def test_a_budget_too_small_for_a_single_student_is_refused(call, comparisons, unmeasured, tmp_path):
    comparisons.raises = {number: BudgetError("of a round", minutes=3) for number in (1, 2)}
    with pytest.raises(UserError, match=r"--budget_minutes 4 is too small for a single student\nexpected at least 6"):
        call()
    assert not (tmp_path / "out").exists()


def test_last_training_of_the_winner_has_a_double_share_of_the_time():
    assert [recipe.share(left, False) for left in (3, 2, 1)] == [1 / 4, 1 / 3, 1]  # a quarter, a quarter and half
    assert [recipe.share(left, True) for left in (4, 3, 2, 1)] == [1 / 6, 1 / 5, 1 / 2, 1]


@pytest.mark.long
def test_rounds_are_comparisons_of_real_runs(teacher, call, monkeypatch):
    monkeypatch.setattr("tinybert.recipes.compare.affordable", lambda *_: 3)  # updates, whatever the speed
    first, last = call(teacher_path=str(teacher)).record["rounds"]
    assert len(first["lines"]) == 3 and len(last["lines"]) == 1 and all(line["scores"] for line in first["lines"])
