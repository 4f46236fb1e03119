"""The definition of an option, and how its value is read from text or from a configuration file."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tinybert.config.dialects import IgnoredOption, UnsupportedOption
from tinybert.config.notices import Notice
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import UserError

if TYPE_CHECKING:
    from typing_extensions import Self

TRUE = ("true", "1", "yes", "y", "on")
FALSE = ("false", "0", "no", "n", "off")
WORDS = {str: "text", int: "a whole number", float: "a number", bool: "True or False", Path: "a path"}


@dataclasses.dataclass(frozen=True)
class Alias:
    """Another spelling of an option.

    `dialect` names the scripts that use it. With `means`, the spelling is a switch that sets this value, such as `--no_cuda` for cpu.
    """

    name: str
    dialect: str
    means: str | None = None


MISSING = dataclasses.MISSING
KEEP = object()


class Derived(typing.NamedTuple):
    """A value derived from other values: its source, why a given value is overridden, and what to report."""

    value: object
    source: str
    reason: str | None = None
    notice: Notice | None = None


@dataclasses.dataclass(frozen=True)
class Option:
    """An option, declared as an attribute of an `Options` class, which gives it its name and type.

    `unset` describes the meaning of None, which for a setting is the preset's value otherwise; `listed` allows a list in a file for a
    comma-separated text; the four bounds apply to numbers. Several values may also be separated by commas and blanks, except paths, and
    values that are taken as a `whole` because they may be paths.

    Resolution (`tinybert.config.resolve`): `setting`: the value is a setting of a stage, which presets can set and the record lists.
    `no_effect`: maps the context to the reason why the option has no effect there, None if it has one. `learnt`: it concerns
    `layers` or `logits`, and has no effect in a stage that learns neither; `part`: the part of the objective it concerns. `does`: its
    purpose (`updates`, `scores`), for commands without that purpose. `otherwise`: the value if it has no effect; KEEP: unchanged.
    `derived`: maps the context to the value that other options imply. `sets`: maps its value to the settings it stands for, where
    `of_stage` names the stage and `beats` lets it override explicit values. `commands`: those that have it; None: all.
    """

    default: object = MISSING  # required if there is none
    help: str = ""
    group: str = ""
    aliases: tuple[Alias, ...] = ()
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    unset: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    listed: bool = False
    setting: bool = False
    no_effect: Callable[[typing.Any], str | None] | None = None
    learnt: str | None = None
    part: str | None = None
    does: str | None = None
    otherwise: object = None
    derived: Callable[[typing.Any], Derived | None] | None = None
    sets: Callable[[typing.Any], Mapping[str, object]] | None = None
    of_stage: str | None = None
    beats: bool = False
    commands: tuple[str, ...] | None = None
    owner: str | None = None
    name: str = ""
    kind: type = str
    many: bool = False
    whole: bool = False

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def expected(self) -> str:
        """The accepted values as text."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = WORDS[self.kind]
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
            if bound is not None
        ]
        words += "; in a file also a list" if self.listed else ""
        return ("several values, each " if self.many else "") + " ".join([words, *([" and ".join(bounds)] if bounds else [])])

    @property
    def default_words(self) -> str:
        """The default as `--help` and docs/flags.md show it."""
        if self.required:
            return "required"
        if self.default is None:
            return self.unset or ("from the preset" if self.setting else "not set")
        return str(self.default)

    def read(self, raw: object, spelling: str) -> object:
        """Convert text from the command line, or a value from a configuration file, to this option's type.

        Raises:
            UserError: wrong type, out of bounds or not a choice; the message names the spelling, the value and what is expected.
        """
        if self.many:
            items = list(raw) if isinstance(raw, (list, tuple)) else [raw]
            splits = self.kind is not Path and not self.whole
            pieces = [piece for item in items for piece in (item.replace(",", " ").split() if splits and isinstance(item, str) else [item])]
            return [self._checked(_converted(self.kind, piece), piece, spelling) for piece in pieces]
        if "True" in self.choices and (switch := read_bool(str(raw))) is not None:  # auto|True|False: parsed as a switch
            raw = str(switch)
        if self.listed and isinstance(raw, (list, tuple)):
            return self._checked(_joined(list(raw)), raw, spelling)
        return self._checked(_converted(self.kind, raw), raw, spelling)

    def _checked(self, value: object, raw: object, spelling: str) -> object:
        if value is None:
            pieces = raw if isinstance(raw, list) else [raw]
            quoted = self.kind is str and any(isinstance(piece, (bool, float)) for piece in pieces)
            hint = "; put it in quotes: YAML reads yes, no, on and off as True and False, and changes numbers" if quoted else ""
            raise UserError(f"{spelling} got {raw!r}\nexpected {self.expected}{hint}")
        if self.choices and value not in self.choices:
            raise UserError(f"{spelling} got {raw!r}\nexpected {self.expected}{did_you_mean(str(value), self.choices)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low = (self.at_least is not None and value < self.at_least) or (self.above is not None and value <= self.above)
            high = (self.at_most is not None and value > self.at_most) or (self.below is not None and value >= self.below)
            if low or high:
                raise UserError(f"{spelling} got {raw}\nexpected {self.expected}")
        return value


def option(default: object = MISSING, *, help: str, group: str, alias: tuple[Alias, ...] = (), **more: typing.Any) -> typing.Any:
    """Declare an option as an attribute of an `Options` class; required if there is no default. `more`: fields of `Option`."""
    return Option(default, help=help, group=group, aliases=tuple(alias), **more)


def read_bool(text: str) -> bool | None:
    """Parse a boolean; None if the text is not one."""
    lowered = text.strip().lower()
    return True if lowered in TRUE else False if lowered in FALSE else None


def _kind(hint: object) -> tuple[type, bool]:
    """(type, whether it is a list) of a field's annotation, which may include None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(parts) != 1:
            raise TypeError(f"an option must have one type, not {hint}")
        hint = parts[0]
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True
    if hint not in WORDS:
        raise TypeError(f"an option must be one of {', '.join(kind.__name__ for kind in WORDS)}, not {hint}")
    return typing.cast(type, hint), False


def _converted(kind: type, raw: object) -> object:
    """The value as `kind`, or None if it cannot be converted; YAML yields 1e-5 as text, and numbers are accepted for text options."""
    if kind is bool:
        return raw if isinstance(raw, bool) else read_bool(str(raw)) if isinstance(raw, (str, int)) else None
    if isinstance(raw, os.PathLike):
        raw = os.fspath(raw)
    elif not isinstance(raw, (str, int, float)) and isinstance(raw, numbers.Real):  # NumPy scalars
        raw = int(raw) if isinstance(raw, numbers.Integral) else float(raw)
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        return None
    try:
        if kind is int:
            return None if isinstance(raw, float) else int(raw)
        if kind is float:
            return float(raw) if math.isfinite(float(raw)) else None
        if kind is str and isinstance(raw, int):
            return str(raw)
    except (ValueError, OverflowError):
        return None
    if not isinstance(raw, str) or not raw.strip():
        return None
    return Path(raw).expanduser() if kind is Path else raw


def _joined(pieces: list) -> str | None:
    """Join list items as on the command line, quoting items that contain a comma; None if an item is not text."""
    texts = [_converted(str, piece) for piece in pieces]
    if not texts or None in texts:
        return None
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(texts)
    return line.getvalue()


class Entry(typing.NamedTuple):
    """A given value, its spelling, and how the user wrote that spelling."""

    spelling: str
    raw: object
    shown: str


class Options:
    """Base class for option declarations: `name: type = option(default, help=..., group=...)`."""

    @classmethod
    def options(cls) -> Mapping[str, Option]:
        """The options by name, those of base classes first."""
        return _options_of(cls)


@lru_cache
def _options_of(declared_by: type) -> Mapping[str, Option]:
    hints = typing.get_type_hints(declared_by)
    found: dict[str, Option] = {}
    for base in reversed(declared_by.__mro__):
        for name, declared in vars(base).items():
            if isinstance(declared, Option):
                kind, many = _kind(hints[name])
                found[name] = dataclasses.replace(declared, name=name, kind=kind, many=many)
    return types.MappingProxyType(found)


class Config(Options):
    """Base class for the configuration of a command: constructed from values by name, checked on construction, immutable.

    A name may be any spelling of the command line; None means not given. `given` has the canonical names of the given values, `spelled` the
    spelling of each, `notices` the notices about accepted values.

    Raises:
        UserError: an unknown name, an invalid value, a missing required value, or contradictory values.
    """

    IGNORED: ClassVar[tuple[IgnoredOption, ...]] = ()
    UNSUPPORTED: ClassVar[tuple[UnsupportedOption, ...]] = ()
    GROUPS: ClassVar[tuple[str, ...]] = ()
    NEEDS_PADDLE: ClassVar[bool] = True
    PRESET_SECTION: ClassVar[str] = ""  # in preset files
    SINGLE_DASH: ClassVar[bool] = False  # whether -name is accepted for --name, as in some published scripts

    given: frozenset[str]
    spelled: Mapping[str, str]
    notices: tuple[Notice, ...]

    def __init__(self, **values: object) -> None:
        self._set([Entry(name, value, f"--{name}") for name, value in values.items() if value is not None])

    @classmethod
    def of(cls, *parts: list[Entry]) -> Self:
        """A configuration from several sources, such as a file and a command line; later ones override earlier ones."""
        config = cls.__new__(cls)
        config._set(*parts)
        return config

    def _set(self, *parts: list[Entry]) -> None:
        from tinybert.config.reading import read_entries  # imports this module

        values, spelled, notices = read_entries(type(self), parts)
        self.given, self.spelled = frozenset(values), spelled
        for name, declared in self.options().items():
            value = values.get(name, declared.default)
            vars(self)[name] = list(value) if isinstance(value, list) else value
        self.notices = tuple(dict.fromkeys([*notices, *self.check()]))

    def replace(self, **values: object) -> Self:
        """A copy with other values, checked again; None resets a value."""
        kept = [name for name in self.options() if name in self.given and name not in values]
        switches = {alias.name for option in type(self).options().values() for alias in option.aliases if alias.means is not None}
        spelled = [(self.spelled[name], getattr(self, name)) for name in kept]
        entries = [Entry(spelling, True if spelling in switches else value, f"--{spelling}") for spelling, value in spelled]
        return self.of(
            [*entries, *(Entry(self.spelled.get(name, name), value, f"--{name}") for name, value in values.items() if value is not None)]
        )

    def as_dict(self) -> dict[str, object]:
        """The values of all options by name."""
        return {name: vars(self)[name] for name in self.options()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  its values may be lists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.options() if name in self.given)})"

    def refuse_both(self, first: str, second: str) -> None:
        """Reject two options that exclude each other."""
        if getattr(self, first) and getattr(self, second):
            raise UserError(f"--{first} and --{second} contradict each other\ngive only one of them")

    def _refuse_two_words(self) -> None:
        """Reject an option that sets others (`sets`) together with a different value for one of them."""
        for name, declared in self.options().items():
            value = getattr(self, name)
            if name not in self.given or declared.sets is None or declared.beats or value is False and declared.default is False:
                continue
            for target, meant in declared.sets(value).items():
                if target in self.given and getattr(self, target) != meant:
                    raise UserError(
                        f"--{name} {value} means --{target} {meant}, which contradicts --{target} {getattr(self, target)}\n"
                        "give only one of them"
                    )

    def check(self) -> list[Notice]:
        """Reject invalid combinations; returns notices about the others.

        Raises:
            UserError: says what was found, what was expected and what to do.
        """
        return []

    # === Hooks of `tinybert.config.resolve` ===

    def option_off(self, context: Any, declared: Option) -> str | None:
        """Why an option has no effect in a stage, for command-specific reasons; checked before the option's own."""
        return None

    def check_stage(self, context: Any) -> None:
        """Reject a stage that cannot do what is requested.

        Raises:
            UserError: says what was found and what to do.
        """

    def about(self, context: Any) -> dict[str, object]:
        """Descriptions of a stage besides its settings."""
        about = {"stage": context.stage, "preset": self.preset}
        if context.task_name:
            about["task_name"] = context.task_name
        return about if context.method is None else {**about, "method": context.method.name}

    def stage_notices(self, settings: Mapping[str, Any]) -> list[Notice]:
        """Notices about the settings of the stages."""
        return []
