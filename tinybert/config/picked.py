"""Value and source of each setting: what was given wins, then the preset, then the default; what has no effect says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tinybert.config.notices import Notice
from tinybert.config.options import Config
from tinybert.config.resolved import Resolved, Settings, Unused

_NAMES = ("stage", "preset", "task_name", "method")  # what a run is, not how it is done


class ResolvedOptions:
    """Values of the fields of a settings class that are options too, with their sources, and why some have no effect."""

    def __init__(self, config: Config, settings_class: type[Settings], preset: Mapping[str, object]) -> None:
        self.config, self.given = config, config.given
        self.values: dict[str, object] = {}
        self.sources: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self._options = config.options()
        for name in (entry.name for entry in dataclasses.fields(settings_class) if entry.name in self._options):
            if name in _NAMES:
                continue
            if self.is_explicit(name) and getattr(config, name) is not None:
                self.put(name, getattr(config, name), "given")
            elif preset.get(name) is not None:
                self.put(name, preset[name], f"preset {config.preset}")
            else:
                self.put(name, self._options[name].default, "default")

    def is_explicit(self, name: str) -> bool:
        """Whether an option was given, on the command line or by whoever made the configuration."""
        return name in self.given

    def put(self, name: str, value: object, source: str) -> None:
        """Set a value and say where it comes from."""
        self.values[name], self.sources[name] = value, source

    def drop(self, reasons: Mapping[str, str], neutral: Mapping[str, object] | None = None, kept: tuple[str, ...] = ()) -> None:
        """Take out what does not apply, each with its reason; what is still read is `neutral` then, or `kept` as it is."""
        for name, reason in reasons.items():
            if name in self.values and name not in kept:
                self.values[name] = (neutral or {}).get(name)
            self.sources.pop(name, None)
            self.reasons.setdefault(name, reason)

    def resolved(self, settings: Settings, *more: Notice) -> Resolved:
        """The settings of a run of one stage, with its explicit options that have no effect, and further warnings."""
        found = [Unused(name, getattr(self.config, name), reason) for name, reason in self.reasons.items() if name in self.given]
        return Resolved(settings.preset, {settings.stage: settings}, tuple(found), (*(entry.notice for entry in found), *more))
