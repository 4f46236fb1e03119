"""The options of `bench`."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import in_models, in_run, threads_option
from tinybert.config.scoring import ScoringOptions


@command("bench", summary="compare models and exports: score, latency, size and a plot", recipe="bench:bench")
class BenchConfig(ScoringOptions):
    """Compare teachers, students and exports on the dev set of a task: score, latency with tokenisation, size."""

    GROUPS = ("models", "data", "run")

    models: list[str] = in_models(help="folders of models and exports, separated by commas; the first one is the reference")
    output_dir: Path = in_run(help="output folder for bench.json, bench.md, pareto.png and pareto.svg")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier comparison in output_dir")
    rows: int = in_run(100, help="number of dev rows timed one by one, from the shortest to the longest", at_least=1, at_most=100_000)
    batch_size: int = in_run(32, help="batch size for measuring rows per second", at_least=1, at_most=65536)
    threads: int | None = threads_option()
