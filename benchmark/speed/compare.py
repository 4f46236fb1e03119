"""`tinybert compare` with six rows against the same six runs one after another, each with an empty cache.

Protocol: teacher, student, rows and lengths of `whole_run.py` (12 x 768, 4 x 312, random weights; 1,000 rows of SST-2 and of MRPC, 200 of
dev); methods `logits` and `tinybert`, three seeds, `--updates` of 32 rows each. The six runs are the commands of the comparison, each with
a cache of its own: it tokenises the rows and runs the teacher itself. The comparison executes `--parallel` runs at once, which share the
cores; its time includes what they lack: the latencies and the report. Both alternate, every second round in reverse order; the ratio is the
median of the ratios in each round. The scores must be the same.

    python benchmark/speed/compare.py --data ~/data --repeats 3
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.encoders import TEACHER
from benchmark.speed.ladder import environment
from benchmark.speed.whole_run import LENGTHS, prepare
from tinybert.commands.compare import CompareConfig
from tinybert.compare.plan import Row, plan
from tinybert.compare.summary import score_of
from tinybert.data.tasks import get_task

METHODS, SEEDS = ("logits", "tinybert"), (1, 2, 3)


def run(words: Sequence[str], cache: Path) -> None:
    """Run a command of `python -m tinybert`."""
    done = subprocess.run(
        [sys.executable, "-m", "tinybert", *words], cwd=ROOT, env={**environment(), "TINYBERT_CACHE": str(cache)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{words[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}")


def together(options: dict[str, object], folder: Path) -> list[float]:
    """The scores by run of one comparison."""
    lists = {name: value if isinstance(value, (list, tuple)) else [value] for name, value in options.items()}
    run(["compare", *(str(word) for name, values in lists.items() for word in (f"--{name}", *values))], folder / "cache")
    lines = json.loads((Path(options["output_dir"]) / "compare.json").read_text(encoding="utf-8"))["lines"]
    return [line["scores"][i] for i in range(len(SEEDS)) for line in lines]


def separately(rows: Sequence[Row], metric: str, folder: Path) -> list[float]:
    """The scores of the runs of a comparison, each on its own."""
    for number, row in enumerate(rows):
        for words in row.commands:
            run(words, folder / f"cache{number}")
    return [score_of(row, metric) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", default="SST-2,MRPC")
    parser.add_argument("--updates", type=int, default=96)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    for name in given.tasks.split(","):
        found: dict[str, list[float]] = {"together": [], "separately": []}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            prepare(given.data, name, folder)
            options = {
                "teacher_path": str(folder / "teacher"), "students": [str(folder / "student")], "methods": list(METHODS),
                "seeds": list(SEEDS), "updates": given.updates, "task_name": name, "data_dir": folder / "data", "device": "cpu",
                "max_seq_length": LENGTHS[name], "output_dir": folder / "out", "parallel": given.parallel,
            }  # fmt: skip
            rows = plan(
                CompareConfig(**options), LENGTHS[name], given.updates, TEACHER["num_attention_heads"], TEACHER["intermediate_size"]
            )
            for turn in range(given.repeats):
                scores = {}
                for system in found if turn % 2 == 0 else reversed(found):
                    for path in (folder / "out", *folder.glob("cache*")):
                        shutil.rmtree(path, ignore_errors=True)
                    started = time.monotonic()
                    one = system == "together"
                    scores[system] = together(options, folder) if one else separately(rows, get_task(name).metric, folder)
                    found[system].append(time.monotonic() - started)
                    print(f"{name} {turn + 1} {system}: {found[system][-1]:.1f} s, scores {scores[system]}", flush=True)
                if scores["together"] != scores["separately"]:
                    raise SystemExit(f"{name}: the scores differ")
        ratio = statistics.median(one / other for one, other in zip(*found.values(), strict=True))
        seconds = [f"{statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})" for values in found.values()]
        print(f"| {name} | {' | '.join(seconds)} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
