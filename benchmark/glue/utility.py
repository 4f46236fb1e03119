"""The marginal-utility curve, scores over bytes of stored traces, from the lines of plan `mud` in `results.jsonl`."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmark.glue.results import cell, headline
from tinybert.report.figure import new_figure, saved
from tinybert.report.table import markdown_table


@dataclass(frozen=True)
class Point:
    """One trained student: task, what was kept, stored bytes per row, that as a fraction of all hidden states, and its score in percent."""

    task: str
    kept: str
    bytes_per_row: float
    of_full: float
    score: float


def by_selection(points: list[Point]) -> dict[tuple[str, str], list[Point]]:
    """The points of each task and selection (one per seed), tasks in order of first appearance, most bytes first."""
    tasks = list(dict.fromkeys(point.task for point in points))
    found: dict[tuple[str, str], list[Point]] = {}
    for point in sorted(points, key=lambda point: (tasks.index(point.task), -point.bytes_per_row)):
        found.setdefault((point.task, point.kept), []).append(point)
    return found


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
        row = [f"{task}, {kept}", f"{group[0].bytes_per_row:,.0f}", f"{100 * group[0].of_full:.2f}%"]
        rows.append([*row, cell([point.score for point in group]), f"{mean - best[task]:+.1f}"])
    return markdown_table(["knowledge", "bytes a row", "of all hidden states", "score", "against everything"], rows)


def plot_utility(points: list[Point], path: Path) -> Path:
    """Draw score over bytes per row (logarithmic), one line per task with the range over seeds; dashed: without hidden states."""
    figure = new_figure(8, 5)
    axis = figure.subplots()
    groups = by_selection(points)
    for task in dict.fromkeys(task for task, _ in groups):
        every = [group for (other, _), group in groups.items() if other == task]
        own = [group for group in every if group[0].bytes_per_row]
        means = [statistics.mean(point.score for point in group) for group in own]
        below = [mean - min(point.score for point in group) for mean, group in zip(means, own, strict=True)]
        above = [max(point.score for point in group) - mean for mean, group in zip(means, own, strict=True)]
        sizes = [group[0].bytes_per_row for group in own]
        bars = axis.errorbar(sizes, means, [below, above], label=task, marker="o", markersize=4, capsize=3)
        for group in every[len(own) :]:
            axis.axhline(statistics.mean(point.score for point in group), color=bars[0].get_color(), linestyle="--", linewidth=1)
        for group, mean in zip(own, means, strict=True):
            axis.annotate(
                f"{100 * group[0].of_full:.2g}%", (group[0].bytes_per_row, mean), fontsize=7, xytext=(3, 4), textcoords="offset points"
            )
    axis.set_xscale("log")
    axis.set_xlabel("stored bytes per row (label: share of all hidden states in float16)")
    axis.set_ylabel("dev score, percent")
    axis.legend()
    return saved(figure, path)
