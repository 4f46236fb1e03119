"""The options of `search`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from tinybert.commands.registry import command, find_command
from tinybert.config.groups import in_run
from tinybert.config.notices import Notice
from tinybert.config.options import Config, option

in_search = partial(option, group="search")
RECIPES = ("distill", "finetune", "general", "pretrain")


@command("search", summary="search for the best options of a run: learning rates, weights, layer map, epochs", recipe="search:search")
class SearchConfig(Config):
    """Run a training command repeatedly with options chosen from the scores of earlier runs (Optuna, extra `search`)."""

    NEEDS_PADDLE: ClassVar[bool] = False  # each run has its own process
    GROUPS: ClassVar[tuple[str, ...]] = ("search", "run")

    command: str = in_search("distill", help="training command to run", choices=RECIPES)
    base: Path = in_search(help="YAML or JSON file with the options of all runs, as for --config of the command")
    space: list[str] = in_search(
        help="search space: NAME=LOW..HIGH, NAME=LOW..HIGH:log for a logarithmic scale, or NAME=VALUE,VALUE; for example "
        "learning_rate=1e-5..1e-3:log T=1,2,4 layer_map=uniform,top"
    )
    trials: int = in_search(20, help="total number of runs, including earlier calls", at_least=1)
    budget_minutes: float | None = in_search(None, help="do not start a run after this many minutes", unset="no limit", above=0)
    seed: int = in_search(42, help="random seed of the search", at_least=0)
    output_dir: Path = in_run(help="output folder for search.json, best.json, the study's journal and the runs")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier search in output_dir")
    resume: bool = in_run(False, help="resume the search in output_dir and the run that was interrupted")

    def check(self) -> list[Notice]:
        """Reject options that the command does not have."""
        from tinybert.search.space import read_space

        self.refuse_both("resume", "overwrite_output_dir")
        read_space(self.space, find_command(self.command).config)
        return super().check()
