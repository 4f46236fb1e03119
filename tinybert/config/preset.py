"""What a preset is: values by stage, some of them by task, by kind of text, or by the student's depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PerTask:
    """A value per task; task names in lower case without hyphens."""

    default: object
    tasks: Mapping[str, object]


@dataclass(frozen=True)
class ByDepth:
    """A table per depth of the student; other depths take the nearest, the deeper of two that are equally near."""

    layers: Mapping[int, PerTask]

    def nearest(self, depth: int) -> int:
        """The depth whose table a student of `depth` layers takes."""
        return min(self.layers, key=lambda known: (abs(known - depth), -known))


@dataclass(frozen=True)
class Preset:
    """A named set of values by stage."""

    name: str
    summary: str
    both: Mapping[str, object] = field(default_factory=dict)
    intermediate: Mapping[str, object] = field(default_factory=dict)
    prediction: Mapping[str, object] = field(default_factory=dict)
    finetune: Mapping[str, object] = field(default_factory=dict)
    general: Mapping[str, object] = field(default_factory=dict)
    pretrain: Mapping[str, object] = field(default_factory=dict)
    pregenerate: Mapping[str, object] = field(default_factory=dict)
    augment: Mapping[str, object] = field(default_factory=dict)

    def _tables(self, stage: str) -> list[Mapping[str, object]]:
        return [*([] if stage in ("finetune", "pregenerate", "augment") else [self.both]), getattr(self, stage)]

    def values(self, stage: str, task_name: str, depth: int | None = None) -> dict[str, object]:
        """The values of `stage` (a field of this class) for a task and a student of `depth` layers."""
        task = task_name.lower().replace("-", "").replace("_", "")
        found: dict[str, object] = {}
        for name, value in (item for table in self._tables(stage) for item in table.items()):
            if isinstance(value, ByDepth):
                value = value.layers[value.nearest(depth or 0)]
            if isinstance(value, PerTask):
                value = value.tasks.get(task, value.default)
            found[name] = value
        return found

    def depths(self, stage: str, depth: int | None) -> dict[str, int]:
        """The values of a stage that depend on the student's depth, and the depth whose table is taken."""
        values = (item for table in self._tables(stage) for item in table.items())
        return {name: value.nearest(depth or 0) for name, value in values if isinstance(value, ByDepth)}
