"""Converts given values, under any spelling, to typed values: for Python, configuration files and the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from tinybert.config.dialects import TRAINER_NAMES
from tinybert.config.notices import Notice
from tinybert.config.options import Config, Entry, Option, read_bool
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import UserError


def read_entries(kind: type[Config], parts: Iterable[list[Entry]]) -> tuple[dict[str, object], dict[str, str], list[Notice]]:
    """Values and spellings by canonical name, and notices; later parts override earlier ones.

    Raises:
        UserError: an unknown name, an invalid value, a missing required value, or two spellings with different values.
    """
    options, spellings = kind.options(), spellings_of(kind)
    notices = [notice for part in parts for entry in part if (notice := _without_effect(kind, entry)) is not None]
    values, spelled = {}, {}
    for part in parts:
        for entry in part:
            _refuse_unknown(kind, entry)
        for name, (value, entry) in _read(part, options, spellings).items():
            values[name], spelled[name] = value, entry.spelling
    for option in options.values():
        if option.required and option.name not in values:
            others = "".join(f" (or --{alias.name})" for alias in option.aliases)
            raise UserError(f"--{option.name}{others} is missing\n{option.help}")
    return values, spelled, notices


def spellings_of(kind: type[Config]) -> dict[str, str]:
    """Every accepted spelling and its canonical name."""
    return _spellings_of(kind, tuple(kind.options()))


@lru_cache
def _spellings_of(kind: type[Config], names: tuple[str, ...]) -> dict[str, str]:
    """names: of all options, including those of registered methods."""
    found: dict[str, str] = {}
    for option in kind.options().values():
        for spelling in (option.name, *(alias.name for alias in option.aliases)):
            if spelling in found:
                raise TypeError(f"{kind.__name__}: --{spelling} stands for two options")
            found[spelling] = option.name
    return found


def _refuse_unknown(kind: type[Config], entry: Entry) -> None:
    known = [*spellings_of(kind), *(other.name for other in (*kind.IGNORED, *kind.UNSUPPORTED))]
    if entry.spelling not in known:
        where = "" if entry.shown.startswith("--") and " " not in entry.shown else entry.shown.removesuffix(f": {entry.spelling}") + ": "
        dashes = "" if where else "--"
        raise UserError(f"{where}{unknown_option(entry.spelling, known, dashes)}")


def unknown_option(name: str, known: Iterable[str], dashes: str = "--") -> str:
    """The message for an unknown name: its equivalent here, or the most similar name."""
    if name in TRAINER_NAMES:
        return f"unknown option {dashes}{name}\n{TRAINER_NAMES[name]}"
    return f"unknown option {dashes}{name}{did_you_mean(name, known, dashes)}"


def _without_effect(kind: type[Config], entry: Entry) -> Notice | None:
    """The notice about an option that is accepted but ignored."""
    for ignored in kind.IGNORED:
        if ignored.name == entry.spelling:
            return Notice(f"ignored:{ignored.name}", f"--{ignored.name} has no effect: {ignored.reason}")
    for foreign in kind.UNSUPPORTED:
        if foreign.name == entry.spelling and _asks_for_nothing(entry.raw):
            text = f"--{foreign.name} has no effect: it would switch {foreign.owner} to another procedure, and is off"
            return Notice(f"ignored:{foreign.name}", text)
        if foreign.name == entry.spelling:
            where = foreign.instead or f"leave --{foreign.name} out"
            raise UserError(f"--{foreign.name} belongs to {foreign.owner}, which is not supported\n{where}")
    return None


def _asks_for_nothing(value: object) -> bool:
    """Whether a switch of another script has its default value: False, or an empty text."""
    words = value if isinstance(value, list) else [value]
    return len(words) == 1 and (words[0] is False or (isinstance(words[0], str) and (not words[0] or read_bool(words[0]) is False)))


def _read(part: list[Entry], options: Mapping[str, Option], spellings: dict[str, str]) -> dict[str, tuple[object, Entry]]:
    """Value and entry by canonical name; the last of equal spellings wins, different spellings must agree."""
    chosen: dict[str, tuple[object, Entry]] = {}
    for entry in part:
        if entry.spelling not in spellings:
            continue
        option = options[spellings[entry.spelling]]
        means = next((alias.means for alias in option.aliases if alias.name == entry.spelling), None)
        if means is not None:
            switched = read_bool(str(entry.raw))
            if switched is None:
                raise UserError(f"{entry.shown} got {entry.raw!r}\nexpected True or False")
            if not switched:
                continue
        value = option.read(entry.raw if means is None else means, entry.shown)
        before, other = chosen.get(option.name, (value, entry))
        if other.spelling != entry.spelling and before != value:
            raise UserError(
                f"{other.shown} says {before}, {entry.shown} says {value}\nboth are spellings of --{option.name}: give only one of them"
            )
        chosen[option.name] = value, entry
    return chosen
