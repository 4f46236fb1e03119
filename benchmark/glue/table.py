"""Write the tables of this folder's README, and the plots beside them, from `results.jsonl`.

Every number between `<!-- table: NAME -->` and `<!-- end -->` in README.md comes from here; the rest of the page is prose.

    python benchmark/glue/table.py            # rewrite tables and plots
    python benchmark/glue/table.py --print    # only show them
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
sys.path.insert(0, str(HERE.parents[1]))

from benchmark.glue import maps, utility  # noqa: E402
from benchmark.glue.results import RESULTS, cell, headline, read  # noqa: E402
from tinybert import storage  # noqa: E402
from tinybert.data.tasks import get_task  # noqa: E402
from tinybert.report.table import markdown_table  # noqa: E402
from tinybert.report.utility import plot_utility  # noqa: E402

# each table: plans whose rows it shows, in this order
TABLES = {
    "main": ("teachers", "table"),
    "ablations": ("table", "ablations"),
    "emd": ("table", "emd"),
    "rosita": ("table", "rosita"),
    "augmentation": ("table", "augmentation"),
    "general": ("table", "general"),
}
# rows of a table that stand for something else than a result of it
LEFT_OUT = dict.fromkeys(("ablations", "emd", "rosita", "augmentation", "general"), ("no teacher", "logits only"))
TASKS = ("CoLA", "MRPC", "RTE", "STS-B", "SST-2")


def table(name: str, lines: list[dict]) -> str:
    """One table: a row for each row of its plans, a column for each task that the last of them has."""
    shown = [line for line in lines if line["plan"] in TABLES[name] and line["row"] not in LEFT_OUT.get(name, ())]
    plans = TABLES[name]
    rows = sorted({(plans.index(line["plan"]), line["row"]): None for line in shown}, key=lambda key: key[0])
    tasks = [task for task in TASKS if any((line["plan"], line["task"]) == (plans[-1], task) for line in shown)]
    scores = {
        (row, task): [headline(line) for line in shown if (line["plan"], line["row"], line["task"]) == (plans[plan], row, task)]
        for plan, row in rows
        for task in tasks
    }
    teacher = {task: next((headline(line) for line in lines if _teaches(line, task)), None) for task in tasks}
    body = []
    for _, row in rows:
        parts = [statistics.mean(scores[row, task]) / teacher[task] for task in tasks if scores[row, task] and teacher[task]]
        kept = f"{100 * statistics.mean(parts):.1f} %" if parts and len(parts) == len(tasks) and row != "teacher" else ""
        body.append([row, *(cell(scores[row, task]) for task in tasks), kept])
    return markdown_table(["", *(f"{task} ({get_task(task).metric})" for task in tasks), "of the teacher"], body)


def sizes(lines: list[dict]) -> str:
    """Parameters, bytes and latency by model and task; each latency against the first model of the same measurement."""
    body, first = [], {}
    for line in lines:
        if line["plan"] == "latency":
            base = first.setdefault(line["task"], line["milliseconds"])
            numbers = f"{line['parameters'] / 1e6:.1f} M", f"{line['megabytes']:.1f} MB", f"{line['milliseconds']:.2f} ms"
            body.append([line["row"], line["task"], *numbers, f"{base / line['milliseconds']:.1f} x"])
    return markdown_table(["model", "rows of", "parameters", "on disk", "a row", "speed"], body)


def _teaches(line: dict, task: str) -> bool:
    return (line["plan"], line["row"], line["task"], line["seed"]) == ("teachers", "teacher", task, 42)


def rewrite(page: str, tables: dict[str, str]) -> str:
    """The page with every marked table replaced."""

    def replaced(match: re.Match) -> str:
        return f"<!-- table: {match[1]} -->\n{tables[match[1]]}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", replaced, page, flags=re.DOTALL)


def main() -> None:
    """Write or show the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--print", action="store_true", help="show the tables, change nothing")
    options = parser.parse_args()
    lines = read(options.results)
    points, flows = utility.points_of(lines), maps.flows_of(lines)
    tables = {name: table(name, lines) for name in TABLES} | {
        "sizes": sizes(lines),
        "utility": utility.table(points),
        "maps": maps.table(flows),
    }
    if options.print:
        for name, text in tables.items():
            print(f"{name}\n\n{text}\n")
        return
    readme = HERE / "README.md"
    storage.write_file(readme, rewrite(readme.read_text(encoding="utf-8"), tables))
    if points:
        plot_utility(points, DOCS / "utility.png")
    if flows:
        maps.plot(flows, DOCS / "emd_flows.png")


if __name__ == "__main__":
    main()
