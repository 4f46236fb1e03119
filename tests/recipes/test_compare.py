"""`compare`: every combination is trained, a failure does not stop the others, and an interrupted comparison resumes."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from tinybert.cli.parser import parse
from tinybert.commands.compare import CompareConfig
from tinybert.commands.distill import TaskDistillConfig
from tinybert.compare.difference import standard_error
from tinybert.compare.plan import by_needs, passes, plan, student_options
from tinybert.compare.summary import Line, advice, lines_of, table, teacher_score
from tinybert.deploy.bench import Measured
from tinybert.errors import UserError
from tinybert.recipes.compare import _error_of_gain

BASE = ("--task_name", "demo", "--device", "cpu", "--max_seq_length", "16", "--threads", "1", "--batch_size", "4", "--updates", "3")


def config(teacher, output, *more: str) -> CompareConfig:
    return parse(CompareConfig, [*map(str, ("--teacher_path", teacher, "--output_dir", output, *BASE, *more))])


def compare(teacher, output, *more: str):
    from tinybert.recipes.compare import compare as recipe

    return recipe(config(teacher, output, *more))


def test_comparison_runs_every_row_and_continues_after_a_failure(teacher, runs_in_this_process, tmp_path):
    out = tmp_path / "out"
    more = ("--students", "teacher:2,4", "missing", "--methods", "none", "logits")
    result = compare(teacher, out, *more)
    record = json.loads((out / "compare.json").read_text())
    lines = {(line["student"], line["method"]): line for line in record["lines"]}
    assert len(lines) == 4
    assert 0 <= lines["teacher:2,4", "logits"]["mean"] <= 100 and lines["teacher:2,4", "logits"]["measured"]["milliseconds"] > 0
    assert "missing" in lines["missing", "none"]["error"]
    assert result.best == out / "runs" / f"teacher_2_4-{'logits' if 'logits' in str(result.best) else 'none'}-42" / "final"
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2 and not re.findall(r'(?:src|href)="http', page)
    assert json.loads((out / "run.json").read_text())["comparison"]["kind"] == "comparison"
    with pytest.raises(UserError, match="already contains a comparison"):
        compare(teacher, out, *more)
    with pytest.raises(UserError, match=r"--resume: .*updates: was 3, is 4"):
        compare(teacher, out, *more, "--updates", "4", "--resume")
    assert [path.parent.name for path in (out / "runs" / "teacher_2_4-logits-42").rglob("model_state.pdparams")] == ["final"]
    before = (out / "runs" / "teacher_2_4-none-42" / "run.json").stat().st_mtime_ns
    compare(teacher, out, *more, "--resume")  # repeats only the failed runs
    assert (out / "runs" / "teacher_2_4-none-42" / "run.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--methods", "magic"), "--methods got 'magic'"),
        (("--students", "teacher:x"), "--students got"),
        (("--students", "4x312", "4x312"), "--students contains a duplicate"),
        (("--seeds", "1", "1"), "--seeds contains a duplicate"),
        (("--budget_minutes", "3"), "--updates and --budget_minutes"),
        (("--resume", "--overwrite_output_dir"), "contradict"),
        (("--address", "auto"), "add --runner ray"),
        (("--kind", "regression"), "applies only to your own files"),
        (("--aug_file", "rows.tsv"), "--aug_file is only used with --use_aug"),
        (("--label_column", "2"), "--label_column applies only to your own files"),
    ],
)
def test_malformed_comparison_is_refused(tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        config("T", tmp_path, *more)


def test_every_method_gets_the_same_number_of_updates(tmp_path):
    options = config(
        "T", tmp_path, "--methods", "none", "logits", "tinybert", "mud", "emd", "pruned", "--seeds", "1", "2", "--pad_to_max_length", "True"
    )
    rows = plan(options, 16, 30, 12, 1536)
    assert len(rows) == 12 and [row.seed for row in rows] == [1] * 6 + [2] * 6
    for row in rows:
        words = row.commands[-1]
        parse(TaskDistillConfig, words[1:])
        steps = [int(words[i + 1]) for i, word in enumerate(words) if word.endswith("max_steps")]
        assert sum(steps) == 30 and words[words.index("--pad_to_max_length") + 1] == "True", row.name
    assert [command[0] for command in rows[5].commands] == ["finetune", "prune", "distill"]


def test_commas_inside_a_teacher_layer_list_are_kept(tmp_path):
    assert config("T", tmp_path, "--students", "teacher:1,3,5,4x312").students == ["teacher:1,3,5", "4x312"]
    assert student_options("4x312") == ["--student_layers", "4", "--student_hidden", "312", "--student_ffn", "1200"]


def test_scores_of_seeds_become_mean_and_deviation(tmp_path):
    rows = plan(config("T", tmp_path, "--methods", "logits", "--seeds", "1", "2", "3"), 16, 3, 12, 1536)
    for row, score in zip(rows, (0.5, 0.6, 0.7), strict=True):
        row.folder.mkdir(parents=True)
        (row.folder / "eval_results.json").write_text(json.dumps({"prediction": {"final": {"accuracy": score}}}))
        entry = {"seconds": 60, "models": {"student": {"parameters": 10}}, "data": {"train": {"rows": 7}, "dev": {"rows": 9}}}
        (row.folder / "run.json").write_text(json.dumps({"prediction": entry}))
    (line,) = lines_of(rows, {row.name: 0 for row in rows}, "accuracy")
    assert (round(line.mean, 6), round(line.deviation, 6), line.minutes, line.rows) == (60.0, 10.0, 1.0, 7)


def test_table_shows_retention_and_failures():
    teacher = Measured("teacher", "paddle", "float32", 80.0, 10.0, 1.0, 9.0, 100.0, 90.0)
    student = Measured("s", "paddle", "float32", 76.0, 2.0, 1.0, 1.0, 500.0, 20.0)
    done = Line("4x312", "tinybert", (76.0,), 1.0, 14_400_000, 100, None, student)
    shown = table([done, Line("4x312", "emd", error="error: nothing to learn")], teacher, "accuracy")
    assert "95.0%" in shown and "5.0" in shown and "nothing to learn" in shown
    assert any("--seeds" in note for note in advice([done], teacher))
    cut = Line("pruned", "pruned", (78.0,), 1.0, 14_400_000, 100, None, student)
    assert any("pruned, pruned" in note for note in advice([done, cut], teacher))
    plain = Line("4x312", "none", (70.0,), 1.0, 14_400_000, 100, None, student)
    assert "The difference to the same student without a teacher is +6.00 points (standard error 1.50, over dev rows)." in advice(
        [plain, done], teacher, 1.5
    )


def test_augmented_rows_go_to_methods_that_read_the_teacher(tmp_path):
    options = config("T", tmp_path, "--methods", "none", "logits", "--use_aug", "--aug_file", "rows.tsv")
    plain, taught = plan(options, 16, 30, 12, 1536)
    assert "--use_aug" not in plain.commands[0] and "--aug_file" not in plain.commands[0]
    assert taught.commands[0][taught.commands[0].index("--aug_file") + 1] == "rows.tsv"


def test_first_run_of_a_seed_stores_what_the_others_need(tmp_path):
    methods = ("none", "logits", "tinybert", "emd", "pruned")
    rows = plan(config("T", tmp_path, "--methods", *methods, "--seeds", "7", "3"), 16, 30, 12, 1536)
    order = [(row.seed, row.method) for row in by_needs(rows)]
    assert order == [(seed, method) for seed in (7, 3) for method in ("tinybert", "emd", "pruned", "logits", "none")]


def test_runs_that_share_stored_outputs_need_one_pass_of_the_teacher(tmp_path):
    def count(*words):
        return passes(config("T", tmp_path, *words))

    assert count("--methods", "none") == 0 and count("--methods", "none", "logits") == 1
    assert count("--methods", "logits", "tinybert", "--students", "4x312", "4x192") == 1
    assert count("--methods", "tinybert", "emd", "--students", "4x312", "2x312", "teacher:3,6") == 4
    assert count("--methods", "tinybert", "pruned", "--students", "4x312", "teacher:3,6") == 3


def test_traces_are_stored_only_for_tasks_that_can_store_them(tmp_path):
    for stores in (True, False):
        (row,) = plan(config("T", tmp_path, "--methods", "tinybert"), 16, 30, 12, 1536, stores)
        assert ("--teacher_traces" in row.commands[0]) is stores


def test_gain_has_no_error_if_different_seeds_failed(tmp_path):
    task = SimpleNamespace(kind=SimpleNamespace(of_words=False, of_windows=False))
    lines = [Line("4x312", "tinybert", (76.0, 77.0), 1.0), Line("4x312", "none", (70.0, 71.0), 1.0)]
    rows = plan(config("T", tmp_path, "--methods", "tinybert", "none", "--seeds", "1", "2", "3"), 16, 30, 12, 1536)
    finished = [row for row in rows if (row.method, row.seed) not in (("tinybert", 1), ("none", 2))]
    assert _error_of_gain(task, None, finished, lines) is None


def test_teacher_is_not_evaluated_a_second_time(tmp_path):
    taught, plain = plan(config("T", tmp_path, "--methods", "logits", "none"), 16, 30, 12, 1536)
    for row, entry in ((taught, {"teacher_scores": {"accuracy": 0.525}}), (plain, {})):
        row.folder.mkdir(parents=True)
        (row.folder / "run.json").write_text(json.dumps({"prediction": entry}))
    assert teacher_score(taught, "accuracy") == 52.5 and teacher_score(taught, "f1") is teacher_score(plain, "accuracy") is None


def test_pruned_teachers_of_two_seeds_share_no_folder(tmp_path):
    one, other = plan(config("T", tmp_path, "--methods", "pruned", "--seeds", "1", "2"), 16, 30, 12, 1536)
    folders = [{command[command.index("--output_dir") + 1] for command in row.commands} for row in (one, other)]
    assert not folders[0] & folders[1]


def test_a_resumed_comparison_keeps_its_number_of_updates(teacher, tmp_path, monkeypatch):
    from tinybert.recipes import compare as recipe

    seen = []

    def run(config, claim, rows):
        seen.append([word for row in rows for command in row.commands for word in command])
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "_run", run)
    for measured, more in ((17, ()), (99, ("--resume",))):
        monkeypatch.setattr(recipe, "_affordable", lambda *_, measured=measured: measured)
        words = ("--teacher_path", teacher, "--output_dir", tmp_path, "--task_name", "demo", "--methods", "logits", "--budget_minutes", 9)
        with pytest.raises(KeyboardInterrupt):
            recipe.compare(parse(CompareConfig, [*map(str, words), *more]))
    assert seen[0] == seen[1] and seen[0][seen[0].index("--max_steps") + 1] == "17"


def test_the_standard_error_is_that_of_paired_rows():
    random = np.random.default_rng(1)
    first, second = random.random(2000) < 0.8, random.random(2000) < 0.7
    found = standard_error([lambda rows: first[rows].mean()], [lambda rows: second[rows].mean()], 2000)
    paired = np.std(first.astype(float) - second, ddof=1) / 2000**0.5
    assert found == pytest.approx(paired, rel=0.1)
    assert standard_error([lambda rows: first[rows].mean()], [lambda rows: first[rows].mean() - 0.1], 2000) < 1e-9
