"""The plans behind the result tables: what they run, skip and record."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "benchmark" / "glue"


sys.path.insert(0, str(FOLDER))
measure = importlib.import_module("measure")


@pytest.mark.parametrize("plan", sorted(path.stem for path in (FOLDER / "plans").glob("*.yaml")))
def test_plans_have_no_placeholders_and_only_known_options(plan, tmp_path):
    from tinybert.commands.distill import TaskDistillConfig
    from tinybert.commands.finetune import FinetuneConfig
    from tinybert.config.reading import spellings_of

    known = {"benchmark/glue/run_glue.py": FinetuneConfig, "task_distill.py": TaskDistillConfig}
    for run in measure.expand(FOLDER / "plans" / f"{plan}.yaml", tmp_path):
        command = run.commands[-1][0]
        assert not any("{" in word for word in command)
        names = {word.removeprefix("--") for word in command if word.startswith("--")}
        if command[0] in known:
            assert names <= spellings_of(known[command[0]]).keys(), run.row


def test_every_run_of_all_plans_has_its_own_folder(tmp_path):
    folders = [run.out for plan in (FOLDER / "plans").glob("*.yaml") for run in measure.expand(plan, tmp_path)]
    assert len(folders) == len(set(folders)) > 0


def test_finished_runs_are_not_repeated(tmp_path):
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps({"plan": "table", "row": "no teacher", "task": "CoLA", "seed": 1}) + "\n")
    done = measure.finished(results)
    missing = [run.key for run in measure.expand(FOLDER / "plans" / "table.yaml", tmp_path) if run.key not in done]
    assert ("table", "no teacher", "CoLA", 1) not in missing
    assert ("table", "no teacher", "CoLA", 2) in missing


SCRIPT = """
import json, sys, pathlib
out = pathlib.Path(sys.argv[sys.argv.index("--output_dir") + 1])
(out / "checkpoints").mkdir(exist_ok=True)
(out / "eval_results.json").write_text(json.dumps({"evaluation": {"scores": {"mcc": 0.5}}}))
sys.exit(int(out.name))
"""


def test_only_failed_runs_keep_their_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text(SCRIPT)
    plan = {"seeds": [0, 1], "tasks": {"CoLA": {}}, "rows": {"row": {"script": str(tmp_path / "script.py"), "args": "--do_eval"}}}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    paths = {"--runs": tmp_path / "runs", "--results": tmp_path / "results.jsonl"}
    monkeypatch.setattr(sys, "argv", ["measure.py", str(tmp_path / "plan.yaml"), *(str(word) for pair in paths.items() for word in pair)])
    with pytest.raises(SystemExit) as stopped:
        measure.main()
    assert stopped.value.code == 1
    assert [line["seed"] for line in map(json.loads, paths["--results"].read_text().splitlines())] == [0]
    assert not (tmp_path / "runs/CoLA/row/0/checkpoints").exists()
    assert (tmp_path / "runs/CoLA/row/1/checkpoints").exists()


def test_rescored_training_run_keeps_its_training_scores(tmp_path):
    run = measure.Run("plan", "row", "CoLA", 1, tmp_path, ((["run_glue.py"], None),))
    results = {"finetune": {"final": {"mcc": 0.25}}, "evaluation": {"scores": {"mcc": 0.5}}}
    (tmp_path / "eval_results.json").write_text(json.dumps(results))
    model = {"parameters": 1, "layers": 1, "hidden": 1, "heads": 1}
    entry = {"models": {"model": model}, "data": {}, "total_steps": 3, "threads": 1, "versions": {}}
    (tmp_path / "run.json").write_text(json.dumps({"finetune": entry}))
    (tmp_path / "log.jsonl").write_text("")
    line = measure.line_of(run, tmp_path, 1.0)
    assert line["scores"] == {"mcc": 0.25} and line["updates"] == {"finetune": 3}
