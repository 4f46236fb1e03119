"""Write the table in this folder's README from `results.jsonl`; cells of the plans that have not been run are empty.

python benchmark/clue/table.py            # rewrite the table
python benchmark/clue/table.py --print    # only show it
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmark.glue.results import cell, headline, read
from tinybert import storage
from tinybert.report.table import markdown_table

PLANS = ("teachers", "table", "pruned")
TASKS = ("ChnSentiCorp", "TNEWS", "AFQMC")


def table(lines: list[dict]) -> str:
    """One row per model, one column per task: accuracy in percent, for AFQMC also F1 of class 1; and the share of the teacher's mean
    score."""
    taught = {line["task"]: headline(line) for line in lines if line["row"] == "teacher" and line["seed"] == 42}
    found = []
    for plan in PLANS:
        for row in yaml.safe_load((HERE / "plans" / f"{plan}.yaml").read_text(encoding="utf-8"))["rows"]:
            own = [line for line in lines if (line["plan"], line["row"]) == (plan, row)]
            scores = {task: [headline(line) for line in own if line["task"] == task] for task in TASKS}
            f1 = [100 * line["scores"]["f1"] for line in own if line["task"] == "AFQMC" and "f1" in line["scores"]]
            kept = ""
            if row != "teacher" and all(scores.values()) and len(taught) == len(TASKS):
                mean = statistics.mean(statistics.mean(values) for values in scores.values())
                kept = f"{100 * mean / statistics.mean(taught.values()):.1f}%"
            found.append([row, *(cell(scores[task]) for task in TASKS), cell(f1), kept])
    return markdown_table(["", *TASKS, "AFQMC (f1)", "of the teacher's mean"], found)


def main() -> None:
    """Replace the table between its markers."""
    results = HERE / "results.jsonl"
    shown = table(read(results) if results.exists() else [])
    if "--print" in sys.argv:
        print(shown)
        return
    page = HERE / "README.md"
    marks = re.compile(r"(<!-- table: main -->\n).*?(<!-- end -->)", re.DOTALL)
    storage.write_file(page, marks.sub(lambda mark: f"{mark[1]}{shown}\n{mark[2]}", page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
