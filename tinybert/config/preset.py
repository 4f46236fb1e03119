"""Presets, named sets of conventions and numbers: data files in `presets/`, one per published system.

A file has a section for each command that supports it. The stages of distillation use `distill`, overridden by their own sections
(`intermediate`, `prediction`, `general`). A value is plain, a table by task (`{default: 20.0, cola: 50.0}`, names in lower case without
hyphens), or such a table for each student depth (`{4: {...}, 6: {...}}`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("presets")
_ORDER = ("sound", "paper", "huawei", "paddlenlp", "emd", "mud", "rosita")  # display order; others follow


@dataclass(frozen=True)
class Preset:
    """A named set of values by section."""

    name: str
    summary: str
    sections: Mapping[str, Mapping[str, Any]]

    def _items(self, *sections: str) -> list[tuple[str, Any]]:
        return [item for section in dict.fromkeys(sections) for item in self.sections.get(section, {}).items()]

    def values(self, section: str, stage: str, task_name: str, depth: int | None = None) -> dict[str, object]:
        """The values of a stage for the command that reads `section`, for a task and a student of `depth` layers."""
        task = task_name.lower().replace("-", "").replace("_", "")
        found: dict[str, object] = {}
        for name, value in self._items(section, stage):
            if _by_depth(value):
                value = value[_nearest(value, depth)]
            found[name] = value.get(task, value["default"]) if isinstance(value, dict) else value
        return found

    def depths(self, section: str, stage: str, depth: int | None) -> dict[str, int]:
        """The values of a stage that depend on the student's depth, and the depth whose table is used."""
        return {name: _nearest(value, depth) for name, value in self._items(section, stage) if _by_depth(value)}


def _by_depth(value: object) -> bool:
    return isinstance(value, dict) and "default" not in value


def _nearest(tables: Mapping[int, object], depth: int | None) -> int:
    """The nearest depth with a table, the larger of two at equal distance."""
    return min(tables, key=lambda known: (abs(known - (depth or 0)), -known))


@lru_cache
def read_preset(name: str) -> Preset:
    """A preset by its name."""
    import yaml

    content = yaml.load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return Preset(name, content.pop("summary"), content)


@lru_cache
def preset_names(section: str) -> tuple[str, ...]:
    """The presets that have a section; files are searched as text, not parsed, so that --help is fast."""
    found = [path.stem for path in _FOLDER.glob("*.yaml") if re.search(rf"^{section}:", path.read_text(encoding="utf-8"), re.MULTILINE)]
    return tuple(sorted(sorted(found), key=lambda name: (*_ORDER, name).index(name)))
