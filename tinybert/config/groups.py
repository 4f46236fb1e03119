"""The groups of options, and options that many commands have."""

from __future__ import annotations

from functools import partial
from typing import Any

from tinybert.config.options import option
from tinybert.config.preset import preset_names

in_models = partial(option, group="models")
in_stage = partial(option, group="stage and method")
in_data = partial(option, group="data")
in_optimisation = partial(option, group="optimisation", setting=True)
# conventions that differ between the published systems
in_conventions = partial(option, group="published differences", setting=True)
in_run = partial(option, group="run")


def threads_option(unset: str = "all available cores", owner: str = "this process", **more: Any) -> int | None:
    """`--threads` of every script; the meaning of None differs."""
    return in_run(None, help=f"CPU threads of {owner}", unset=unset, at_least=1, at_most=1024, **more)


def preset_option(section: str) -> str:
    """`--preset` of the commands that use this section of the preset files."""
    return in_run("sound", help="preset with the values of options that are not given", choices=preset_names(section))
