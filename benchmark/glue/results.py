"""Reads `results.jsonl`: one line per run, its scores, and means over runs."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from tinybert.data.tasks import get_task

RESULTS = Path(__file__).resolve().parent / "results.jsonl"


def read(path: Path) -> list[dict]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def headline(line: dict) -> float:
    """A run's score in the task's own metric, in percent."""
    return 100 * line["scores"][get_task(line["task"]).metric]


def cell(scores: list[float]) -> str:
    """Mean and standard deviation over seeds, or a single score; with the number of seeds if there are fewer than three."""
    if not scores:
        return ""
    if len(scores) == 1:
        return f"{scores[0]:.1f}"
    few = f" ({len(scores)})" if len(scores) < 3 else ""
    return f"{statistics.mean(scores):.1f} ± {statistics.stdev(scores):.1f}{few}"
