"""Measure size and latency of trained models together in one process, and append them to `results.jsonl`.

Protocol: 100 rows of the dev set, evenly from the shortest to the longest, one at a time at its own length, tokenisation not counted;
the models take turns on every row; the median of three rounds.

    RUNS=runs/glue/CoLA
    python benchmark/glue/latency.py --task CoLA --data ~/data teacher=$RUNS/teacher/42/final student=$RUNS/two_stages/42/final
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.glue.results import RESULTS
from tinybert.engine.run_record import now

ROWS = 100


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    from tinybert import runtime

    runtime.prepare(threads=options.threads)
    from tinybert import storage
    from tinybert.data.readers import split_path
    from tinybert.data.tasks import get_task
    from tinybert.deploy.bench import compare
    from tinybert.deploy.predictor import Predictor

    task = get_task(options.task)
    folder, split = Path(options.data) / "Glue" / task.name, task.eval_splits[0]
    models = {name: Predictor.open(path, options.threads) for name, path in (pair.split("=", 1) for pair in options.models)}
    with open(options.results, "a", encoding="utf-8") as file:
        for one in compare(models, task, folder, rows=ROWS, batch_size=32):
            line = {
                "plan": "latency",
                "row": one.name,
                "task": task.name,
                "seed": 0,
                "milliseconds": round(one.run_milliseconds, 3),
                "parameters": sum(int(parameter.size) for parameter in models[one.name].engine.model.parameters()),
                "megabytes": round(one.megabytes, 2),
                "rows": ROWS,
                "threads": options.threads,
                "data_sha256": {split: storage.sha256_of(split_path(task, folder, split))},
                "versions": runtime.versions(),
                "finished": now(),
            }
            file.write(json.dumps(line) + "\n")
            print(f"{one.name}: {line['milliseconds']} ms, {line['parameters']:,} parameters, {line['megabytes']} MB", flush=True)


if __name__ == "__main__":
    main()
