"""Execute the runs of a plan, and append one line per finished run to `results.jsonl`.

A plan is a YAML file: values for each task, and for each row a script and its arguments, in which `{names}` are replaced by these values.
Runs that already have a line are skipped; interrupted ones are resumed, so the same command can be repeated until everything is done. The
checkpoints of a finished run are deleted: they are several times as large as its model, and are no longer needed.

    python benchmark/glue/measure.py benchmark/glue/plans/table.yaml --data ~/data --runs runs/glue --parallel 2

A plan's keys: `seeds` (default [42]); `tasks`: task -> values; `common`: arguments of every run; `rows`: name -> `script`, `args`, and
optionally `tasks`, `seeds`, `common` and `before` (commands that run first, each as {script, args, makes: a path that exists when it
is done}). Other available names are {task}, {seed}, {runs}, {out} and {row}.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.glue.results import RESULTS, read

STAGES = ("finetune", "intermediate", "prediction")


@dataclass(frozen=True)
class Run:
    """One training run of a plan."""

    plan: str
    row: str
    task: str
    seed: int
    out: Path
    commands: tuple[tuple[list[str], str | None], ...]  # arguments, and the path whose existence means that a command is done

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.plan, self.row, self.task, self.seed


def expand(path: Path, runs: Path) -> Iterator[Run]:
    """Every run of the plan in `path`, grouped by task, in the order of its rows."""
    plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    for task, values in plan["tasks"].items():
        for name, row in plan["rows"].items():
            if task not in row.get("tasks", plan["tasks"]):
                continue
            for seed in row.get("seeds", values.get("seeds", plan.get("seeds", [42]))):
                out = runs / task / re.sub(r"\W+", "_", name) / str(seed)
                names = {"task": task, "seed": seed, "runs": runs, "out": out, "row": name}
                names |= {key: str(value).format(**names) for key, value in values.items()}

                def filled(command: dict, common: str = "", names: dict = names) -> list[str]:
                    return [*command["script"].split(), *f"{command['args']} {common}".format(**names).split()]

                first = [(filled(step), step["makes"].format(**names)) for step in row.get("before", [])]
                last = filled(row, f"{row.get('common', plan.get('common', ''))} --task_name {task} --seed {seed} --output_dir {out}")
                last += [] if "--do_eval" in last else ["--resume", "auto"]
                yield Run(path.stem, name, task, seed, out, (*first, (last, None)))


def finished(results: Path) -> set[tuple]:
    """The keys of all runs with a line."""
    lines = read(results) if results.exists() else []
    return {(line["plan"], line["row"], line["task"], line["seed"]) for line in lines}


def line_of(run: Run, runs: Path, seconds: float) -> dict:
    """The result of a finished run: arguments, hashes, updates, scores, time; no local paths."""
    results = json.loads((run.out / "eval_results.json").read_text(encoding="utf-8"))
    line = {"plan": run.plan, "row": run.row, "task": run.task, "seed": run.seed}
    if not results.keys() & set(STAGES):  # --do_eval: an existing model
        line["scores"] = results["evaluation"]["scores"]
    else:
        line |= _training(json.loads((run.out / "run.json").read_text(encoding="utf-8")), results)
        line |= _transport(run.out / "log.jsonl")
    return line | {
        "seconds": round(seconds, 1),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "arguments": " ".join(word.replace(str(runs), "runs") for word in run.commands[-1][0]),
    }


def _training(record: dict, results: dict) -> dict:
    """Information about a run's training in run.json and eval_results.json, including scores of the final model."""
    stages = [stage for stage in STAGES if stage in record]
    last = record[stages[-1]]
    model = last["models"].get("student") or last["models"]["model"]
    return {
        "scores": results[stages[-1]]["final"],
        "updates": {stage: record[stage]["total_steps"] for stage in stages},
        "training_seconds": {stage: record[stage].get("seconds") for stage in stages},
        "parameters": model["parameters"],
        "shape": [model["layers"], model["hidden"], model["heads"]],
        "teacher_sha256": last["models"].get("teacher", {}).get("sha256"),
        "data_sha256": {split: entry["sha256"] for split, entry in last["data"].items()},
        "knowledge": _traces(record[stages[0]]),
        "threads": last["threads"],
        "versions": last["versions"],
    }


def _traces(record: dict) -> dict | None:
    """The stored parts of a row; None if the teacher ran in every epoch."""
    stored = record.get("teacher_traces", {})
    return {"bytes_per_row": stored["bytes_per_row"], "of_full": stored["of_all_hidden_states"]} if stored.get("mode") == "stored" else None


def _transport(log: Path) -> dict:
    """The flows and layer weights of BERT-EMD's last step, as `transport`; empty for other methods."""
    for text in reversed(log.read_text(encoding="utf-8").splitlines()):
        entry = json.loads(text)
        if entry.get("event") == "arrays":
            return {"transport": {name: np.round(array, 4).tolist() for name, array in entry["arrays"].items()}}
    return {}


def main() -> None:
    """Execute all missing runs, `--parallel` at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/glue"), help="where run folders go; several plans may share it")
    parser.add_argument("--data", help="DATA_HOME of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time; the cores are shared out evenly")
    parser.add_argument("--only", help="regular expression on TASK/ROW/SEED")
    parser.add_argument("--minutes", type=float, help="start no run after so many minutes")
    parser.add_argument("--list", action="store_true", help="print what is missing and stop")
    options = parser.parse_args()
    runs = options.runs.resolve()
    done = finished(options.results)
    missing = [run for run in expand(options.plan, runs) if run.key not in done]
    if options.only:
        missing = [run for run in missing if re.search(options.only, f"{run.task}/{run.row}/{run.seed}")]
    print(f"{options.plan.stem}: {len(missing)} runs are missing", flush=True)
    if options.list:
        for run in missing:
            print(f"{run.task} / {run.row} / {run.seed}: {' '.join(run.commands[-1][0])}")
        return
    threads = max(1, len(os.sched_getaffinity(0)) // options.parallel)
    environment = os.environ | ({"DATA_HOME": options.data} if options.data else {})
    lock, started, failed = threading.Lock(), time.monotonic(), []

    def execute(run: Run) -> None:
        if options.minutes and time.monotonic() - started > 60 * options.minutes:
            return
        run.out.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        for command, makes in run.commands:
            if makes and Path(makes).exists():
                continue
            with open(run.out / "output.txt", "ab") as output:
                code = subprocess.call(
                    [sys.executable, *command, "--threads", str(threads)], cwd=ROOT, env=environment, stdout=output, stderr=output
                )
            if code:
                failed.append(run)
                print(f"{run.task} / {run.row} / {run.seed}: exit code {code}, see {run.out / 'output.txt'}", flush=True)
                return
        line = line_of(run, runs, time.monotonic() - begun)
        with lock, open(options.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        shutil.rmtree(run.out / "checkpoints", ignore_errors=True)
        scores = ", ".join(f"{name} {value:.4f}" for name, value in line["scores"].items())
        print(f"{run.task} / {run.row} / {run.seed}: {scores}; {line['seconds']:.0f} s", flush=True)

    with ThreadPoolExecutor(options.parallel) as pool:
        list(pool.map(execute, missing))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
