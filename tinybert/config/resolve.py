"""Resolves a configuration and its preset to the settings of each stage: explicit value, then preset, then default.

How options affect each other is declared with them; this module only evaluates the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinybert.config.notices import Notice
from tinybert.config.options import KEEP, Config, Derived, Option
from tinybert.config.preset import read_preset
from tinybert.config.resolved import Resolved, Settings, Unused
from tinybert.kinds.kind import Kind


class Context:
    """One stage of a run, as seen by the declarations of options: the values of all options, and facts about the run.

    stages: all stages of the run. learns: `layers`, `logits`, both or neither. facts: what only the recipe knows, such as the data length.
    """

    def __init__(
        self, config: Config, stage: str, stages: Sequence[str], task_name: str = "", depth: int | None = None, **facts: object
    ) -> None:
        self.config, self.stage, self.stages, self.task_name, self.facts = config, stage, tuple(stages), task_name, facts
        self.joint = bool(facts.get("joint"))
        self.kind: Kind | None = facts.get("kind")  # type: ignore[assignment]  facts are of any type
        self.method: Any = getattr(config, "method_object", None)
        self.learns = self.method.learns(stage, self.joint) if self.method else frozenset()
        self._options = config.options()
        preset = read_preset(config.preset)
        self.preset_values = preset.values(config.PRESET_SECTION, stage, task_name, depth)
        self.values: dict[str, object] = {}
        self.sources: dict[str, str] = {}
        self.notices: list[Notice] = []
        self.beaten: dict[str, str] = {}  # given, but overridden: the reason
        self._reasons: dict[str, str | None] = {}
        by_depth = preset.depths(config.PRESET_SECTION, stage, depth)
        if depth is not None:
            text = "preset {} has no values for a student of {} layers: using those for {}"
            others = dict.fromkeys(taken for taken in by_depth.values() if taken != depth)
            self.notices += [Notice("preset-depth", text.format(config.preset, depth, taken)) for taken in others]
        for option in self._options.values():
            self._pick(option, by_depth.get(option.name))
        for option in self._options.values():
            self._stand_for_others(option)
        for option in self._options.values():
            found = option.derived(self) if option.derived else None
            if found is not None:
                self._derive(option.name, found)

    def _pick(self, option: Option, layers: int | None) -> None:
        name, given = option.name, option.name in self.config.given
        value = getattr(self.config, name)
        if option.setting and not given and self.preset_values.get(name) is not None:
            self.values[name], self.sources[name] = self.preset_values[name], f"preset {self.config.preset}"
            if layers is not None:
                self.sources[name] += f", {self.task_name} with {layers} layers"
        else:
            self.values[name], self.sources[name] = value, "given" if given and value is not None else "default"

    def _stand_for_others(self, option: Option) -> None:
        value = getattr(self.config, option.name)
        if not self._stands(option) or option.of_stage not in (None, self.stage):
            return
        for name, other in option.sets(value).items():
            if option.beats and self.sources.get(name) == "given":
                self.beaten[name] = f"--{option.name} takes precedence"
            shown = f"{option.name} {value}" if option.choices else option.name
            self.values[name], self.sources[name] = other, f"given ({shown})"

    def _derive(self, name: str, found: Derived) -> None:
        self.values[name], self.sources[name] = found.value, found.source
        if found.reason:
            self.beaten[name] = found.reason
        if found.notice:
            self.notices.append(found.notice)

    # === Called by options ===

    def __getattr__(self, name: str) -> Any:
        """The value of an option, whether or not it has an effect; None if the command does not have it."""
        if name.startswith("_") or name == "values":
            raise AttributeError(name)
        return self.values.get(name)

    def given(self, name: str) -> bool:
        """Whether an option was given."""
        return name in self.config.given

    def off(self, name: str) -> str | None:
        """Why an option has no effect here; None if it has one."""
        if name not in self._reasons:
            self._reasons[name] = None  # options that refer to each other see the first one as having an effect
            known = name in self._options
            own = self.method.options().get(name) if self.method else None  # two methods may have an option of the same name
            self._reasons[name] = self._off(own or self._options[name]) if known else "this command has no such option"
        return self._reasons[name]

    def _off(self, option: Option) -> str | None:
        if option.of_stage not in (None, self.stage):
            return None
        found = self.config.option_off(self, option)
        if found is None and option.no_effect is not None:
            found = option.no_effect(self)
        if found is None and option.sets is not None:
            reasons = [self.off(name) for name in option.sets(getattr(self.config, option.name))] if self._stands(option) else []
            found = "; ".join(dict.fromkeys(map(str, reasons))) if reasons and all(reasons) else None
        return found

    def _stands(self, option: Option) -> bool:
        """Whether the option currently sets other settings; a switch does so only if it is on."""
        value = getattr(self.config, option.name)
        return option.sets is not None and value is not None and (value is not False or option.default is None)

    def get(self, name: str) -> Any:
        """The value of an option that has an effect, else its substitute."""
        option = self._options.get(name)
        if option is None or self.off(name) is None or option.otherwise is KEEP:
            return self.values.get(name)
        return option.otherwise(self) if callable(option.otherwise) else option.otherwise

    # === The result ===

    def settings(self, about: Mapping[str, object]) -> Settings:
        """The settings of this stage."""
        listed = [name for name, option in self._options.items() if option.setting]
        own_metric = self.values.get("metric") is None  # the task defines its own
        sources = {name: self.sources[name] for name in listed if self.off(name) is None and not (own_metric and name == "metric")}
        return Settings(about, {name: self.get(name) for name in listed}, sources, self.method)


def resolve_stages(config: Config, stages: Sequence[str], task_name: str = "", depth: int | None = None, **facts: object) -> Resolved:
    """The settings of each stage of a run.

    depth: layers of the student, for presets that depend on it. facts: what else is known about the run: the `kind` of its task,
    whether it is `joint`, ...

    Raises:
        UserError: nothing is left to learn, or the stage cannot do what is requested.
    """
    contexts = {stage: Context(config, stage, stages, task_name, depth, **facts) for stage in stages}
    for context in contexts.values():
        config.check_stage(context)
    settings = {stage: context.settings(config.about(context)) for stage, context in contexts.items()}
    unused = []
    for name, option in config.options().items():
        if name not in config.given:
            continue
        if option.of_stage is not None and option.of_stage not in contexts:
            unused.append(Unused(name, getattr(config, name), f"this run has no {option.of_stage} stage"))
            continue
        concerned = [contexts[option.of_stage]] if option.of_stage else list(contexts.values())
        reasons = [context.beaten.get(name) or context.off(name) for context in concerned]
        if all(reasons):
            unused.append(Unused(name, getattr(config, name), "; ".join(dict.fromkeys(map(str, reasons)))))
    told = [entry.notice for entry in unused]
    names = {entry.name for entry in unused}
    told += [
        notice for context in contexts.values() for notice in context.notices if not (notice.code == "original-rows" and "use_aug" in names)
    ]
    told += config.stage_notices(settings)
    return Resolved(config.preset, settings, tuple(unused), tuple(dict.fromkeys(told)))
