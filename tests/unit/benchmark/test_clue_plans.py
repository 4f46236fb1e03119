"""The plans of benchmark/clue: every command is valid, and the page shows the table of table.py."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "benchmark" / "clue"
sys.path.insert(0, str(ROOT))


def module(path: Path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"clue_{path.stem}", path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.mark.parametrize("plan", ["teachers", "table", "pruned"])
def test_every_command_of_a_plan_is_valid(plan, tmp_path):
    from tinybert.cli.flags_page import scripts
    from tinybert.cli.parser import parse

    measure, known = module(ROOT / "benchmark/glue/measure.py"), scripts()
    for run in measure.expand(FOLDER / "plans" / f"{plan}.yaml", tmp_path):
        for command, _ in run.commands:
            script, rest = (" ".join(command[:3]), command[3:]) if command[0] == "-m" else (command[0], command[1:])
            config = parse(known[f"python {script}" if script.startswith("-m") else script], rest)
            assert getattr(config, "task_name", None) in (run.task, None)


def test_all_rows_of_the_clue_table_have_equal_updates(tmp_path):
    measure = module(ROOT / "benchmark/glue/measure.py")
    updates = {}
    for run in (run for plan in ("table", "pruned") for run in measure.expand(FOLDER / "plans" / f"{plan}.yaml", tmp_path)):
        steps = re.findall(r"--(?:intermediate_|prediction_)?max_steps (\d+)", " ".join(run.commands[-1][0]))
        updates.setdefault(run.task, set()).add(sum(map(int, steps)))
    assert len(updates) == 3 and all(len(each) == 1 for each in updates.values())


def test_students_with_fewer_heads_learn_averages_of_heads(tmp_path):
    for run in module(ROOT / "benchmark/glue/measure.py").expand(FOLDER / "plans/pruned.yaml", tmp_path):
        *_, cut, distilling = [" ".join(command) for command, _ in run.commands]
        assert "--keep_heads" in cut and "--stage both --attention_heads average" in distilling


def test_an_interrupted_augmentation_step_is_resumed(tmp_path):
    steps = [
        command
        for run in module(ROOT / "benchmark/glue/measure.py").expand(FOLDER / "plans/table.yaml", tmp_path)
        for command, _ in run.commands
    ]
    steps = [command for command in steps if command[0] == "data_augmentation.py"]
    assert steps and all("--resume" in command for command in steps)


def test_page_shows_the_table_that_the_script_writes():
    table = module(FOLDER / "table.py")
    results = FOLDER / "results.jsonl"
    lines = table.read(results) if results.exists() else []
    shown = re.search(r"<!-- table: main -->\n(.*?)\n<!-- end -->", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown[1] == table.table(lines)
    made_up = [
        {"plan": plan, "row": row, "task": task, "seed": 42, "scores": {"accuracy": score, "f1": 0.5}}
        for plan, row, score in (("teachers", "teacher", 0.8), ("table", "two stages", 0.6))
        for task in table.TASKS
    ]
    written = table.table(made_up)
    assert "75.0%" in written and written.count("60.0") == 3 and written.count("50.0") == 2
