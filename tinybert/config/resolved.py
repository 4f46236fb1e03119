"""The resolved settings of a stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from tinybert.config.notices import Notice


class Settings:
    """Values of one stage as attributes; None if not applicable. `sources` says where each comes from.

    `about`: what the run is (stage, preset, task, method); these have no source. `method_object`: the method, if there is one.
    """

    def __init__(
        self, about: Mapping[str, object], values: Mapping[str, object], sources: Mapping[str, str], method_object: object = None
    ) -> None:
        self.about, self.values, self.sources, self.method_object = dict(about), dict(values), dict(sources), method_object

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") and name not in ("about", "values"):
            for table in (self.about, self.values):
                if name in table:
                    return table[name]
        raise AttributeError(f"the settings have no {name}")

    def get(self, name: str) -> Any:
        """The value of a setting, None if the command does not have it."""
        return self.about.get(name, self.values.get(name))

    @property
    def learns(self) -> frozenset[str]:
        """What the stage learns from the teacher: `layers`, `logits`, both or neither."""
        return self.method_object.learns(self.stage, bool(self.get("joint")))

    @property
    def learns_layers(self) -> bool:
        """Whether student layers learn from teacher layers."""
        return "layers" in self.learns

    def as_dict(self) -> dict[str, object]:
        """Names and values of all applicable settings, for run.json."""
        return {**self.about, **{name: value for name, value in self.values.items() if value is not None or name in self.sources}}

    def as_table(self) -> list[tuple[str, object, str]]:
        """Rows (name, value, source) of all applicable settings."""
        return [(name, value, self.sources[name]) for name, value in self.values.items() if name in self.sources]


@dataclasses.dataclass(frozen=True)
class Unused:
    """An option that was given explicitly but has no effect in this run."""

    name: str
    value: object
    reason: str

    @property
    def notice(self) -> Notice:
        """The corresponding warning."""
        return Notice(f"unused:{self.name}", f"--{self.name} {self.value} is not used: {self.reason}")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """The settings of each stage of a run, unused options, and notices."""

    preset: str
    stages: Mapping[str, Settings]
    unused: tuple[Unused, ...]
    warnings: tuple[Notice, ...]

    def __getitem__(self, stage: str) -> Settings:
        """The settings of one stage."""
        return self.stages[stage]

    def as_table(self) -> list[tuple[str, object, str]]:
        """Rows (name, value, source); `stage.name` where the stages differ, unused options last."""
        tables = {stage: {row[0]: row for row in settings.as_table()} for stage, settings in self.stages.items()}
        rows: list[tuple[str, object, str]] = []
        for name in dict.fromkeys(name for settings in self.stages.values() for name in settings.values):
            found = {stage: table[name] for stage, table in tables.items() if name in table}
            if not found:
                continue
            first = next(iter(found.values()))
            if len(found) == len(tables) and all(row[1:] == first[1:] for row in found.values()):
                rows.append(first)
            else:
                rows += [(f"{stage}.{name}" if len(tables) > 1 else name, *row[1:]) for stage, row in found.items()]
        return rows + [(entry.name, entry.value, f"unused: {entry.reason}") for entry in self.unused]

    def as_text(self, only: Collection[str] | None = None) -> str:
        """The table as aligned lines. only: the names to show, if not all."""
        rows = [
            (name, "-" if value is None else str(value), source)
            for name, value, source in self.as_table() if only is None or name.rpartition(".")[2] in only
        ]  # fmt: skip
        width = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        return "\n".join(f"{name:<{width[0]}}  {value:<{width[1]}}  {source}" for name, value, source in rows)

    def as_dict(self) -> dict[str, object]:
        """Plain values for run.json: per stage the settings and their sources, unused options, warnings."""
        return {
            "preset": self.preset,
            "stages": {stage: {**entry.as_dict(), "sources": entry.sources} for stage, entry in self.stages.items()},
            "unused": [dataclasses.asdict(entry) for entry in self.unused],
            "warnings": [str(entry) for entry in self.warnings],
            "codes": [entry.code for entry in self.warnings],
        }
