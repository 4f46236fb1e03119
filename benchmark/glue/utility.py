"""Table and plot of the marginal-utility curve, from the lines of plan `mud` in `results.jsonl`.

python benchmark/glue/utility.py --plot docs/utility.png
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.glue.results import RESULTS, cell, headline, read  # noqa: E402
from tinybert.report.table import markdown_table  # noqa: E402
from tinybert.report.utility import Point, by_selection, plot_utility  # noqa: E402


def points_of(lines: list[dict]) -> list[Point]:
    """The runs that learnt from stored hidden states, and of the same tasks those that learnt logits alone, as many updates long."""
    found = []
    for line in lines:
        stored = line.get("knowledge")
        if line["plan"] == "mud" and stored:
            found.append(Point(line["task"], line["row"], stored["bytes_per_row"], stored["of_full"], headline(line)))
    tasks = {point.task for point in found}
    nothing = [line for line in lines if (line["plan"], line["row"]) == ("table", "logits only") and line["task"] in tasks]
    return found + [Point(line["task"], "logits only", 0, 0, headline(line)) for line in nothing]


def table(points: list[Point]) -> str:
    """Markdown: a row for each task and selection, with bytes, their part of all hidden states, scores, and what was lost."""
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


def main() -> None:
    """Print the table, and draw the plot where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    points = points_of(read(options.results))
    if not points:
        parser.error(f"{options.results} has no lines of plan mud: run benchmark/glue/measure.py benchmark/glue/plans/mud.yaml first")
    print(table(points))
    if options.plot:
        print(plot_utility(points, options.plot))


if __name__ == "__main__":
    main()
