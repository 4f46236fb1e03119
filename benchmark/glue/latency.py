"""Measure size and latency of trained models together in one process, and append them to `results.jsonl`.

Protocol: 100 rows of the task's dev set, evenly spaced from the longest to the shortest, one at a time at its own length; the models
alternate on every row; three rounds after a warm-up round; medians.

    RUNS=runs/glue/CoLA
    python benchmark/glue/latency.py --task CoLA --data ~/data teacher=$RUNS/teacher/42/final student=$RUNS/two_stages/42/final
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.glue.results import RESULTS  # noqa: E402


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
    from tinybert.data.store import TokenStore
    from tinybert.data.tasks import get_task
    from tinybert.models.loading import load_pretrained
    from tinybert.models.trace import Inputs
    from tinybert.report.latency import sampled, side_by_side

    task = get_task(options.task)
    loaded = {name: load_pretrained(folder, name)[0] for name, folder in (pair.split("=", 1) for pair in options.models)}
    tokenizer = next(iter(loaded.values())).tokenizer
    dev = TokenStore.build_or_open(
        task, Path(options.data) / "Glue" / task.name, task.eval_splits[0], tokenizer, 128 if task.is_pair else 64
    )
    rows = [Inputs.of(batch) for batch in sampled(dev)]
    milliseconds = side_by_side({name: each.model for name, each in loaded.items()}, rows)
    with open(options.results, "a", encoding="utf-8") as file:
        for name, each in loaded.items():
            line = {
                "plan": "latency",
                "row": name,
                "task": task.name,
                "seed": 0,
                "milliseconds": round(milliseconds[name], 3),
                "parameters": each.parameters(),
                "megabytes": round(Path(each.report.source).stat().st_size / 1e6, 2),
                "rows": len(rows),
                "threads": options.threads,
                "data_sha256": {task.eval_splits[0]: dev.meta["source_sha256"]},
                "versions": runtime.versions(),
                "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            }
            file.write(json.dumps(line) + "\n")
            print(f"{name}: {line['milliseconds']} ms, {line['parameters']:,} parameters, {line['megabytes']} MB", flush=True)


if __name__ == "__main__":
    main()
