"""Options from a file: `--config FILE`, YAML or JSON, with the names of the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert.errors import UserError


def read_config(path: Path) -> dict[str, object]:
    """The options of a configuration file by the spelling used there.

    Raises:
        UserError: the file is missing, is not YAML or JSON, holds no `name: value` lines, or names an option twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UserError(f"--config {path} cannot be read: {reason}\nexpected a YAML or JSON file of `name: value` lines") from None
    values = _read_json(path, text) if path.suffix.lower() == ".json" else _read_yaml(path, text)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"--config {path} holds no options\nexpected `name: value` lines, with the names of the command line")
    return values


def _read_json(path: Path, text: str) -> object:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        _refuse_twice(path, [key for key, _ in items])
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as problem:
        raise UserError(f"--config {path} is not JSON: {problem}") from None
    except RecursionError:
        raise _too_deep(path) from None


def _read_yaml(path: Path, text: str) -> object:
    import yaml

    try:
        # the loader keeps the last of two equal keys without a word, so look at the keys before it builds the mapping
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(tree, yaml.MappingNode):
            _refuse_twice(path, [key.value for key, _ in tree.value])
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as problem:  # a ValueError: a date that does not exist
        raise UserError(f"--config {path} is not YAML: {' '.join(str(problem).split())}") from None
    except RecursionError:
        raise _too_deep(path) from None


def _too_deep(path: Path) -> UserError:
    return UserError(f"--config {path} is nested too deeply\nexpected `name: value` lines, with the names of the command line")


def _refuse_twice(path: Path, keys: list[str]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"--config {path} names {key} twice\nexpected each option once")
