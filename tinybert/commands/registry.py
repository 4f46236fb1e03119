"""The available commands. A command is a file here, or a class registered elsewhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from tinybert import commands
from tinybert.config.options import Config

C = TypeVar("C", bound=type[Config])


@dataclass(frozen=True)
class Command:
    """A command: its name, a summary for the overview, its configuration class, its recipe as `module:function`, its script."""

    name: str
    summary: str
    config: type[Config]
    recipe: str
    script: str


_COMMANDS: dict[str, Command] = {}


def command(name: str, *, summary: str, recipe: str, script: str | None = None) -> Callable[[C], C]:
    """Register the decorated configuration class as that of a command.

    recipe: `module:function`, imported when the command runs and called with the configuration; a module without a dot is in
    `tinybert.recipes`. script: the script that calls it, if it is not `python -m tinybert NAME`.
    """

    def register(config: C) -> C:
        path = recipe if "." in recipe.partition(":")[0] else f"tinybert.recipes.{recipe}"
        _COMMANDS[name] = Command(name, summary, config, path, script or f"python -m tinybert {name}")
        return config

    return register


def find_command(name: str) -> Command | None:
    """The command of this name; a built-in command imports only its own file."""
    if name not in _COMMANDS and name in _files():
        importlib.import_module(f"tinybert.commands.{name}")
    return _COMMANDS.get(name)


def all_commands() -> dict[str, Command]:
    """Every command by name."""
    for name in _files():
        importlib.import_module(f"tinybert.commands.{name}")
    return {name: _COMMANDS[name] for name in sorted(_COMMANDS, key=lambda name: (*_ORDER, name).index(name))}


@cache
def _files() -> list[str]:
    return [entry.name for entry in pkgutil.iter_modules(commands.__path__) if entry.name != "registry"]


_ORDER = (
    "distill", "finetune", "general", "pregenerate", "pretrain", "augment", "demo", "prune", "convert", "export", "predict", "bench",
    "compare", "search", "auto", "doctor", "download", "clean",
)  # others follow  # fmt: skip
