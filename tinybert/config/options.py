"""What one option is, and how its value is read from text or from a configuration file."""

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

    `dialect` names the scripts that use it. With `means`, the spelling is a switch that stands for this value, as
    `--no_cuda` for cpu.
    """

    name: str
    dialect: str
    means: str | None = None


MISSING = dataclasses.MISSING
KEEP = object()


class Derived(typing.NamedTuple):
    """A value that other values give an option, where it comes from, why what was given does not count, and what is said about it."""

    value: object
    source: str
    reason: str | None = None
    notice: Notice | None = None


@dataclasses.dataclass(frozen=True)
class Option:
    """One option, as an attribute of a class of options declares it; the class gives it its name and its type.

    `unset` says in words what None stands for, `listed` that a text of pieces between commas may be a list in a file; the four bounds are
    those of a number.

    What a run makes of it (`tinybert.config.resolve`): `setting`: its value is one of the settings of a stage, which presets fill in and
    the record lists. `no_effect`: from the context to the reason why it has no effect there, None where it has one. `learnt`: it is about
    `layers` or `logits`, and has no effect in a stage that learns none; `part`: the part of the objective that it is about. `does`: what
    it is for (`updates`, `scores`), for commands that can do without. `otherwise`: its value where it has no effect; KEEP: as it is.
    `derived`: from the context to the value that other values give it. `sets`: from its value to the settings that it stands for, where
    `of_stage` names the stage and `beats` lets it win over what is given for them. `commands`: those that have it; None: all.
    """

    default: object = MISSING  # required without one
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

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def expected(self) -> str:
        """The accepted values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = WORDS[self.kind]
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in (
                ("at least", self.at_least),
                ("above", self.above),
                ("at most", self.at_most),
                ("below", self.below),
            )
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
            return self.unset or "not set"
        return str(self.default)

    def read(self, raw: object, spelling: str) -> object:
        """Turn text of the command line, or a value of a configuration file, into this option's type.

        Raises:
            UserError: wrong type, outside the bounds or not a choice; names spelling, value and what is expected.
        """
        if self.many:
            items = list(raw) if isinstance(raw, (list, tuple)) else [raw]
            pieces = [piece for item in items for piece in (item.replace(",", " ").split() if isinstance(item, str) else [item])]
            return [self._checked(_converted(self.kind, piece), piece, spelling) for piece in pieces]
        if "True" in self.choices and (switch := read_bool(str(raw))) is not None:  # auto|True|False: a switch, read as switches are
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
    """Declare an option as the attribute of a class of options; without a default it is required. `more`: fields of `Option`."""
    return Option(default, help=help, group=group, aliases=tuple(alias), **more)


def read_bool(text: str) -> bool | None:
    """True, False or, for a text that is neither, None."""
    lowered = text.strip().lower()
    return True if lowered in TRUE else False if lowered in FALSE else None


def _kind(hint: object) -> tuple[type, bool]:
    """(type, is a list) of a field's annotation, which may allow None beside it."""
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
    """The value as `kind`, or None where it is not one; a file's 1e-5 arrives as text, its 20 as a whole number, as a text too."""
    if kind is bool:
        return raw if isinstance(raw, bool) else read_bool(str(raw)) if isinstance(raw, (str, int)) else None
    if isinstance(raw, os.PathLike):
        raw = os.fspath(raw)
    elif not isinstance(raw, (str, int, float)) and isinstance(raw, numbers.Real):  # of NumPy
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
    """Pieces of a text option as the command line takes them, in double quotes where one holds a comma; None where one is no text."""
    texts = [_converted(str, piece) for piece in pieces]
    if not texts or None in texts:
        return None
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(texts)
    return line.getvalue()


class Entry(typing.NamedTuple):
    """A value as it was given: under which spelling, and how the user sees that spelling."""

    spelling: str
    raw: object
    shown: str


class Options:
    """Base of whatever declares options: `name: type = option(default, help=..., group=...)`."""

    @classmethod
    def options(cls) -> Mapping[str, Option]:
        """Its options by name, those of its bases first."""
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
    """Base of the configuration of a command: made from values by name, checked when it is made, never changed afterwards.

    A name may be any spelling of the command line; None stands for a value that is not given. `given` holds the canonical names of what
    was given, `spelled` the spelling of each, `notices` what is to be said about values that are accepted.

    Raises:
        UserError: an unknown name, a wrong value, something required that is missing, or values that contradict each other; in the words of
            the command line.
    """

    IGNORED: ClassVar[tuple[IgnoredOption, ...]] = ()
    UNSUPPORTED: ClassVar[tuple[UnsupportedOption, ...]] = ()
    GROUPS: ClassVar[tuple[str, ...]] = ()
    NEEDS_PADDLE: ClassVar[bool] = True
    PRESET_SECTION: ClassVar[str] = ""  # of preset files
    SINGLE_DASH: ClassVar[bool] = False  # whether -name stands for --name, as in some published scripts

    given: frozenset[str]
    spelled: Mapping[str, str]
    notices: tuple[Notice, ...]

    def __init__(self, **values: object) -> None:
        self._set([Entry(name, value, f"--{name}") for name, value in values.items() if value is not None])

    @classmethod
    def of(cls, *parts: list[Entry]) -> Self:
        """A configuration from parts, such as a file and a command line, of which a later one wins."""
        config = cls.__new__(cls)
        config._set(*parts)
        return config

    def _set(self, *parts: list[Entry]) -> None:
        from tinybert.config.reading import read_entries  # it reads what this module declares

        values, spelled, notices = read_entries(type(self), parts)
        self.given, self.spelled = frozenset(values), types.MappingProxyType(spelled)
        for name, declared in self.options().items():
            value = values.get(name, declared.default)
            vars(self)[name] = list(value) if isinstance(value, list) else value
        self.notices = tuple(dict.fromkeys([*notices, *self.check()]))

    def replace(self, **values: object) -> Self:
        """The same with other values, checked again; None takes a value back."""
        kept = [name for name in self.options() if name in self.given and name not in values]
        switches = {alias.name for option in type(self).options().values() for alias in option.aliases if alias.means is not None}
        spelled = [(self.spelled[name], getattr(self, name)) for name in kept]
        entries = [Entry(spelling, True if spelling in switches else value, f"--{spelling}") for spelling, value in spelled]
        return self.of(
            [*entries, *(Entry(self.spelled.get(name, name), value, f"--{name}") for name, value in values.items() if value is not None)]
        )

    def as_dict(self) -> dict[str, object]:
        """Every option's value by its name."""
        return {name: vars(self)[name] for name in self.options()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  its values may be lists

    def __reduce__(self) -> tuple:
        return _unpickled, (type(self), {name: value for name, value in vars(self).items() if name != "spelled"}, dict(self.spelled))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.options() if name in self.given)})"

    def _refuse_two_words(self) -> None:
        """Refuse an option that stands for others (`sets`) beside another value for one of them."""
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
        """Refuse combinations that make no sense; returns what is to be said about the others.

        Raises:
            UserError: says what was found, what was expected and what to do.
        """
        return []

    # === What a run makes of it: the hooks of `tinybert.config.resolve` ===

    def option_off(self, context: Any, declared: Option) -> str | None:
        """Why an option has no effect in a stage, for reasons that lie in the command; the option's own come after."""
        return None

    def check_stage(self, context: Any) -> None:
        """Refuse a stage that cannot do what is asked for.

        Raises:
            UserError: says what was found and what to do.
        """

    def about(self, context: Any) -> dict[str, object]:
        """What a stage is, beside its settings."""
        return {"stage": context.stage, "preset": self.preset}

    def stage_notices(self, settings: Mapping[str, Any]) -> list[Notice]:
        """What is to be said about the settings of the stages."""
        return []


def _unpickled(kind: type[Config], values: dict[str, object], spelled: dict[str, str]) -> Config:
    config = kind.__new__(kind)
    vars(config).update(values, spelled=types.MappingProxyType(spelled))
    return config
