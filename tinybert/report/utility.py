"""The marginal-utility curve: student score against the bytes of teacher traces used."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from tinybert.report.figure import new_figure, saved


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
