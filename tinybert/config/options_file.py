"""Options from a file, YAML or JSON, with the option names of the command line."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert.errors import UserError

MAX_BYTES = 64 * 1024  # a hundred times more than all options need; the YAML parser takes a minute for a megabyte
MAX_LEVELS = 5


def read_options(path: Path, given_by: str = "--config") -> dict[str, object]:
    """The options in a file, by the spelling used there. given_by: the option that names the file, for messages.

    Raises:
        UserError: the file is missing, is not YAML or JSON, is not a mapping of `name: value`, or contains an option twice.
    """
    shown = f"{given_by} {path}"
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UserError(f"{shown} cannot be read: {reason}\nexpected a YAML or JSON file with `name: value` lines") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{shown} is larger than {MAX_BYTES // 1024} KB\nexpected `name: value` lines, one per option")
    values = _read_json(shown, text) if path.suffix.lower() == ".json" else _read_yaml(shown, text)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{shown} contains no options\nexpected `name: value` lines with the option names of the command line")
    for name, value in values.items():
        if isinstance(value, int) and abs(value) >= 2**63:
            raise UserError(f"{shown}: {name} got a number with more than 18 digits\nexpected a valid value")
    return values


def _read_json(shown: str, text: str) -> object:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        _refuse_twice(shown, [key for key, _ in items])
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except ValueError as problem:  # not JSON, or a number with thousands of digits
        raise UserError(f"{shown} is not JSON: {problem}") from None
    except RecursionError:
        raise _too_deep(shown) from None


def _read_yaml(shown: str, text: str) -> object:
    import yaml

    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):  # checked before construction: aliases multiply and deep nesting is slow
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{shown} has an alias (*{event.anchor})\nexpected `name: value` lines without aliases")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_LEVELS:
                raise _too_deep(shown)
        # the loader silently keeps the last of two equal keys, so duplicates are found before it builds the mapping
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(tree, yaml.MappingNode):
            _refuse_twice(shown, [key.value for key, _ in tree.value])
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: an invalid date
        raise UserError(f"{shown} is not YAML: {' '.join(str(problem).split())}") from None
    except RecursionError:
        raise _too_deep(shown) from None


def _too_deep(shown: str) -> UserError:
    return UserError(f"{shown} is nested too deeply\nexpected `name: value` lines with the option names of the command line")


def _refuse_twice(shown: str, keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise UserError(f"{shown} names {key} twice\nexpected each option once")
        seen.add(key)
