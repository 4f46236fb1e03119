"""Write the tables in this folder's README, and the plots next to them, from `results.jsonl`.

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

import yaml

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
sys.path.insert(0, str(HERE.parents[1]))

from benchmark.glue import maps, utility
from benchmark.glue.results import RESULTS, cell, headline, read
from tinybert import storage
from tinybert.data.tasks import get_task
from tinybert.report.table import markdown_table

# for each table: the plans whose rows it shows, in this order
TABLES = {
    "main": ("teachers", "table"),
    "ablations": ("table", "ablations"),
    "emd": ("table", "emd"),
    "rosita": ("table", "rosita"),
    "augmentation": ("table", "augmentation"),
    "general": ("table", "general"),
}
# rows of a table that are not results of its plans
LEFT_OUT = dict.fromkeys(("ablations", "emd", "rosita", "augmentation", "general"), ("no teacher", "logits only"))
TASKS = ("CoLA", "MRPC", "RTE", "STS-B", "SST-2")
# scores of TinyBERT4 and of its teacher BERT-base on the GLUE test sets (TinyBERT, arXiv 1909.10351v5, table 1)
PUBLISHED = {"CoLA": (44.1, 52.8), "MRPC": (86.4, 87.5), "RTE": (66.6, 67.0), "STS-B": (80.4, 85.2), "SST-2": (92.6, 93.4)}


def _scores(name: str, lines: list[dict]) -> tuple[list[str], dict[tuple[str, str], dict[str, list[float]]]]:
    """The tasks of a table's last plan, and for each row, by plan and name, the scores of all seeds by task."""
    plans = TABLES[name]
    shown = [line for line in lines if line["plan"] in plans and line["row"] not in LEFT_OUT.get(name, ())]
    tasks = [task for task in TASKS if any((line["plan"], line["task"]) == (plans[-1], task) for line in shown)]
    rows: dict[tuple[str, str], dict[str, list[float]]] = {}
    for line in sorted(shown, key=lambda line: plans.index(line["plan"])):
        row = rows.setdefault((line["plan"], line["row"]), {task: [] for task in tasks})
        if line["task"] in tasks:
            row[line["task"]].append(headline(line))
    return tasks, rows


def _teachers(lines: list[dict]) -> dict[str, float]:
    """The score of the distillation teacher, by task."""
    return {line["task"]: headline(line) for line in lines if (line["plan"], line["row"], line["seed"]) == ("teachers", "teacher", 42)}


def table(name: str, lines: list[dict]) -> str:
    """One table: one row for each row of its plans, one column for each task of the last plan."""
    (tasks, rows), teacher = _scores(name, lines), _teachers(lines)
    body = []
    for (_, row), scores in rows.items():
        whole = row != "teacher" and tasks and all(scores[task] and task in teacher for task in tasks)
        kept = f"{100 * statistics.mean(statistics.mean(scores[task]) / teacher[task] for task in tasks):.1f}%" if whole else ""
        body.append([row, *(cell(scores[task]) for task in tasks), kept])
    return markdown_table(["", *(f"{task} ({get_task(task).metric})" for task in tasks), "of the teacher"], body)


def kinds(lines: list[dict]) -> str:
    """The table of `plans/kinds.yaml`: scores in the metric of each task, and their share of the teacher's."""
    plan = yaml.safe_load((HERE / "plans/kinds.yaml").read_text(encoding="utf-8"))
    metrics = {task: values["metric"] for task, values in plan["tasks"].items()}
    teacher: dict[str, float] = {}
    body = []
    for row in plan["rows"]:
        cells = []
        for task, metric in metrics.items():
            scores = [100 * line["scores"][metric] for line in lines if (line["plan"], line["row"], line["task"]) == ("kinds", row, task)]
            known = teacher.setdefault(task, statistics.mean(scores)) if scores else None  # the first row is the teacher
            share = f", {100 * statistics.mean(scores) / known:.0f}%" if scores and body else ""
            cells.append(f"{cell(scores)}{share}")
        body.append([row.removeprefix("kinds "), *cells])
    return markdown_table(["", *(f"{task} ({metric})" for task, metric in metrics.items())], body)


def retention(lines: list[dict]) -> str:
    """The percentage of the teacher's score that each row of the main table retains, and the same for the paper's student and BERT-base."""
    (tasks, rows), teacher = _scores("main", lines), _teachers(lines)
    pairs = {
        row: {task: (statistics.mean(scores[task]), teacher[task]) for task in tasks}
        for (_, row), scores in rows.items()
        if row != "teacher" and all(scores.values())
    }
    pairs["TinyBERT4 in the paper"] = {task: PUBLISHED[task] for task in tasks}
    body = []
    for row, kept in pairs.items():
        parts = [100 * student / own_teacher for student, own_teacher in kept.values()]
        student, own_teacher = (sum(scores) for scores in zip(*kept.values(), strict=True))
        body.append([row, *(f"{part:.0f}" for part in parts), f"{statistics.mean(parts):.1f}", f"{100 * student / own_teacher:.1f}"])
    return markdown_table(["percent of the teacher", *tasks, "mean", "of the mean score"], body)


def sizes(lines: list[dict]) -> str:
    """Parameters, bytes and latency by model and task; latencies relative to the first model of the same measurement."""
    body, first = [], {}
    for line in lines:
        if line["plan"] == "latency":
            base = first.setdefault(line["task"], line["milliseconds"])
            numbers = f"{line['parameters'] / 1e6:.1f} M", f"{line['megabytes']:.1f} MB", f"{line['milliseconds']:.2f} ms"
            body.append([line["row"], line["task"], *numbers, f"{base / line['milliseconds']:.1f} x"])
    return markdown_table(["model", "rows of", "parameters", "on disk", "a row", "speed"], body)


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
        "kinds": kinds(lines),
        "retention": retention(lines),
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
        utility.plot_utility(points, DOCS / "utility.png")
    if flows:
        maps.plot(flows, DOCS / "emd_flows.png")


if __name__ == "__main__":
    main()
