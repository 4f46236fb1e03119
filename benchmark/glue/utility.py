"""The marginal-utility curve as points and a table, from the lines of plan `mud` in `results.jsonl`."""

from __future__ import annotations

import statistics

from benchmark.glue.results import cell, headline
from tinybert.report.table import markdown_table
from tinybert.report.utility import Point, by_selection


def points_of(lines: list[dict]) -> list[Point]:
    """The runs that used stored hidden states, and for the same tasks those with logits only and the same number of updates."""
    found = []
    for line in lines:
        stored = line.get("knowledge")
        if line["plan"] == "mud" and stored:
            found.append(Point(line["task"], line["row"], stored["bytes_per_row"], stored["of_full"], headline(line)))
    tasks = {point.task for point in found}
    nothing = [line for line in lines if (line["plan"], line["row"]) == ("table", "logits only") and line["task"] in tasks]
    return found + [Point(line["task"], "logits only", 0, 0, headline(line)) for line in nothing]


def table(points: list[Point]) -> str:
    """Markdown: one row for each task and selection, with bytes, their fraction of all hidden states, scores, and loss of score."""
    groups = by_selection(points)
    best = {}
    for (task, _), group in groups.items():
        best.setdefault(task, statistics.mean(point.score for point in group))  # the first has the most bytes
    rows = []
    for (task, kept), group in groups.items():
        mean = statistics.mean(point.score for point in group)
        row = [f"{task}, {kept}", f"{group[0].bytes_per_row:,.0f}", f"{100 * group[0].of_full:.2f} %"]
        rows.append([*row, cell([point.score for point in group]), f"{mean - best[task]:+.1f}"])
    return markdown_table(["knowledge", "bytes a row", "of all hidden states", "score", "against everything"], rows)
