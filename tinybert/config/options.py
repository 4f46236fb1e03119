"""What one option is, and how its value is read from text or from a configuration file."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from tinybert.config.dialects import IgnoredOption, UnsupportedOption
from tinybert.config.notices import Notice
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import UserError

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


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a command line, as a dataclass field describes it.

    `listed`: a text of pieces between commas, which in a file may be a list.
    """

    name: str
    kind: type
    many: bool
    required: bool
    default: object
    help: str
    group: str
    aliases: tuple[Alias, ...] = ()
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    unset: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    listed: bool = False

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
        words += ", in a file also a list" if self.listed else ""
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
            items = raw if isinstance(raw, list) else [raw]
            pieces = [piece for item in items for piece in (item.replace(",", " ").split() if isinstance(item, str) else [item])]
            return [self._checked(_converted(self.kind, piece), piece, spelling) for piece in pieces]
        if "True" in self.choices and (switch := read_bool(str(raw))) is not None:  # auto|True|False: a switch, read as switches are
            raw = str(switch)
        if self.listed and isinstance(raw, list):
            return self._checked(_joined(raw), raw, spelling)
        return self._checked(_converted(self.kind, raw), raw, spelling)

    def _checked(self, value: object, raw: object, spelling: str) -> object:
        if value is None:
            pieces = raw if isinstance(raw, list) else [raw]
            quoted = self.kind is str and any(isinstance(piece, (bool, float)) for piece in pieces)
            hint = "; put it in quotes: YAML takes yes, no, on and off for True and False, and changes numbers" if quoted else ""
            raise UserError(f"{spelling} got {raw!r}\nexpected {self.expected}{hint}")
        if self.choices and value not in self.choices:
            raise UserError(f"{spelling} got {raw!r}\nexpected {self.expected}{did_you_mean(str(value), self.choices)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            low = (self.at_least is not None and value < self.at_least) or (self.above is not None and value <= self.above)
            high = (self.at_most is not None and value > self.at_most) or (self.below is not None and value >= self.below)
            if low or high:
                raise UserError(f"{spelling} got {raw}\nexpected {self.expected}")
        return value


def flag(
    default: object = dataclasses.MISSING,
    *,
    help: str,
    group: str,
    alias: tuple[Alias, ...] = (),
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
    unset: str | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    listed: bool = False,
) -> typing.Any:
    """A dataclass field that is an option of the command line; without a default it is required.

    `unset` says in words what None stands for, `listed` that a file may hold a list of texts; the other four bound a number.
    """
    metadata = {
        "help": help, "group": group, "aliases": tuple(alias), "choices": tuple(choices),
        "metavar": metavar, "unset": unset, "at_least": at_least, "at_most": at_most, "above": above, "below": below, "listed": listed,
    }  # fmt: skip
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@lru_cache
def options_of(arguments_class: type) -> Mapping[str, Option]:
    """The options of a dataclass by canonical name, in the order of its fields."""
    hints = typing.get_type_hints(arguments_class)
    found = {}
    for field in dataclasses.fields(arguments_class):
        kind, many = _kind(hints[field.name])
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        required = default is dataclasses.MISSING
        found[field.name] = Option(
            name=field.name, kind=kind, many=many, required=required,
            default=None if required else default, **field.metadata,
        )  # fmt: skip
    return types.MappingProxyType(found)


def read_bool(text: str) -> bool | None:
    """True, False or, for a text that is neither, None."""
    lowered = text.strip().lower()
    return True if lowered in TRUE else False if lowered in FALSE else None


def _kind(hint: object) -> tuple[type, bool]:
    """(type, is a list) of a field's annotation, which may allow None beside it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(parts) != 1:
            raise TypeError(f"an option has one type, not {hint}")
        hint = parts[0]
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True
    if hint not in WORDS:
        raise TypeError(f"an option is one of {', '.join(kind.__name__ for kind in WORDS)}, not {hint}")
    return typing.cast(type, hint), False


def _converted(kind: type, raw: object) -> object:
    """The value as `kind`, or None where it is not one; a file's 1e-5 arrives as text, its 20 as a whole number, as a text too."""
    if kind is bool:
        return raw if isinstance(raw, bool) else read_bool(str(raw)) if isinstance(raw, (str, int)) else None
    if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
        return None
    try:
        if kind is int:
            return None if isinstance(raw, float) else int(raw)
        if kind is float:
            return float(raw) if math.isfinite(float(raw)) else None
        if kind is str and isinstance(raw, int):
            return str(raw)
    except ValueError:
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


@dataclasses.dataclass(kw_only=True)
class Arguments:
    """Base of every argument dataclass."""

    OBSOLETE: ClassVar[tuple[IgnoredOption, ...]] = ()
    FOREIGN: ClassVar[tuple[UnsupportedOption, ...]] = ()
    GROUPS: ClassVar[tuple[str, ...]] = ()
    NEEDS_PADDLE: ClassVar[bool] = True
    SINGLE_DASH: ClassVar[bool] = False  # whether -name stands for --name, as in some published scripts

    def check(self, given: set[str], spelled: dict[str, str]) -> list[Notice]:
        """Refuse combinations that make no sense; returns lines to print on stderr.

        Raises:
            UserError: says what was found, what was expected and what to do.
        """
        return []
