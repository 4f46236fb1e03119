"""The available methods. A method is a file here, or a class registered elsewhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import TypeVar

from tinybert import methods
from tinybert.config.options import Option
from tinybert.methods.method import DistillationMethod

M = TypeVar("M", bound=type[DistillationMethod])
_METHODS: dict[str, DistillationMethod] = {}
_ORDER = ("tinybert", "mud", "emd", "minilm", "minilmv2", "pkd", "distilbert", "logits", "none", "relation")  # others follow


def register(method: M) -> M:
    """Register a method by its name.

    Raises:
        TypeError: another class has this name.
    """
    known = type(_METHODS.setdefault(method.name, method()))
    if known is not method:
        raise TypeError(f"two methods are named {method.name}: {known.__module__} and {method.__module__}")
    return method


@cache
def _import_files() -> None:
    for entry in pkgutil.iter_modules(methods.__path__):
        importlib.import_module(f"tinybert.methods.{entry.name}")


def methods_of(command: str) -> Mapping[str, DistillationMethod]:
    """The methods that a command offers, by name."""
    _import_files()
    listed = sorted(_METHODS, key=lambda name: (*_ORDER, name).index(name))
    return {name: _METHODS[name] for name in listed if command in _METHODS[name].commands}


def options_of_methods(command: str) -> Mapping[str, Option]:
    """The options of all methods of a command, by name."""
    return _options_of(command, tuple(methods_of(command).values()))


@cache
def _options_of(command: str, offered: tuple[DistillationMethod, ...]) -> Mapping[str, Option]:
    found: dict[str, Option] = {}
    for method in offered:
        for name, option in method.options().items():
            if option.commands is None or command in option.commands:
                found.setdefault(name, option)
    return MappingProxyType(found)
