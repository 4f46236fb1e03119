"""From a command line to typed arguments: argparse on dataclasses, with aliases, a file of options and plain errors."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from tinybert import __version__
from tinybert.config.notices import Notice
from tinybert.config.options import Arguments, Option, options_of, read_bool
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import UserError
from tinybert.log import logger

A = TypeVar("A", bound="Arguments")
_EXPONENT = re.compile(r"-(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


@dataclasses.dataclass
class Parsed(Generic[A]):
    """Arguments, the canonical names given explicitly, and the spelling used for each."""

    arguments: A
    given: set[str]
    spelled: dict[str, str]
    codes: tuple[str, ...] = ()  # of what was said on stderr


class _Found(NamedTuple):
    """One occurrence of an option: its canonical name, the spelling, what stood beside it, how the user sees it."""

    name: str
    spelling: str
    raw: object
    shown: str


class _Collect(argparse.Action):
    """Keeps every occurrence: argparse alone would forget all but the last, and which spelling it had."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        namespace.found.append(((option_string or "").lstrip("-"), values))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  argparse declares that it never returns
        missing = re.match(r"argument (--\w+).*: expected (?:one|at least one) argument", message)
        if missing:
            raise UserError(f"{missing[1]} has no value\nwrite {missing[1]} VALUE, or {missing[1]}=VALUE")
        raise UserError(message)


def parse(arguments_class: type[A], argv: Sequence[str] | None = None, prog: str | None = None) -> Parsed[A]:
    """Read a command line (default: this process's) into `arguments_class`; its docstring heads `--help`.

    IgnoredOption options print one line each on stderr. `--help` and `--version` print and raise SystemExit(0).

    Raises:
        UserError: an unknown option, a wrong value, a contradiction, or something required that is missing.
    """
    options = options_of(arguments_class)
    spellings = spellings_of(arguments_class)
    obsolete = {entry.name: entry for entry in arguments_class.OBSOLETE}
    foreign = {entry.name: entry for entry in arguments_class.FOREIGN}
    parser = build_parser(arguments_class, prog)
    argv = _join_exponents(sys.argv[1:] if argv is None else argv)
    namespace, extras = parser.parse_known_args(argv, argparse.Namespace(found=[]))
    _refuse_extras(extras, [*spellings, "config", "help", "version"])

    line = [(name, value, f"--{name}") for name, value in namespace.found if name != "config"]
    files = [value for name, value in namespace.found if name == "config"]
    if len(files) > 1:
        raise UserError(f"--config is given {len(files)} times\nexpected one file")
    from_file = _from_config(Path(files[0]).expanduser(), [*spellings, *obsolete, *foreign]) if files else []

    notes: list[Notice] = []
    for name, value, _ in [*from_file, *line]:
        if name in obsolete:
            notes.append(Notice(f"ignored:{name}", f"--{name} has no effect: {obsolete[name].reason}"))
        elif name in foreign and _asks_for_nothing(value):
            notes.append(
                Notice(f"ignored:{name}", f"--{name} has no effect: it switches {foreign[name].owner} to another procedure, and is off")
            )
        elif name in foreign:
            where = foreign[name].instead or f"leave --{name} out"
            raise UserError(f"--{name} belongs to {foreign[name].owner}, which is not available in this version\n{where}")
    known = [[found for entry in part if (found := _known(entry, options, spellings))] for part in (from_file, line)]
    values, spelled = {}, {}
    for part in known:  # the file first: the command line wins
        chosen = _read(part, options)
        values.update({name: value for name, (value, _) in chosen.items()})
        spelled.update({name: spelling for name, (_, spelling) in chosen.items()})
    for option in options.values():
        if option.required and option.name not in values:
            others = "".join(f" (or --{alias.name})" for alias in option.aliases)
            raise UserError(f"--{option.name}{others} is missing\n{option.help}")
    arguments = arguments_class(**values)
    notes += arguments.check(set(values), spelled)
    for note in dict.fromkeys(notes):
        logger.warning(note)
    return Parsed(arguments, set(values), spelled, tuple(note.code for note in notes))


def _asks_for_nothing(value: object) -> bool:
    """Whether a switch of another script stands on the line as it is when left out: False, or an empty text."""
    words = value if isinstance(value, list) else [value]
    return len(words) == 1 and (words[0] is False or (isinstance(words[0], str) and (not words[0] or read_bool(words[0]) is False)))


def spellings_of(arguments_class: type[Arguments]) -> dict[str, str]:
    """Every accepted spelling and the canonical name it stands for."""
    found: dict[str, str] = {}
    for option in options_of(arguments_class).values():
        for spelling in (option.name, *(alias.name for alias in option.aliases)):
            if spelling in found:
                raise TypeError(f"{arguments_class.__name__}: --{spelling} stands for two options")
            found[spelling] = option.name
    return found


@lru_cache(maxsize=32)
def build_parser(arguments_class: type[Arguments], prog: str | None = None) -> argparse.ArgumentParser:
    """The argparse parser of a dataclass: groups, defaults and aliases for `--help`."""
    parser = _Parser(
        prog=prog, description=(arguments_class.__doc__ or "").strip(), allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s --name value ...", add_help=False,
    )  # fmt: skip
    about = parser.add_argument_group("about")
    about.add_argument("-h", "--help", action="help", help="show this text and exit")
    about.add_argument("--version", action="version", version=f"tinybert {__version__}", help="show the version and exit")
    about.add_argument("--config", action=_Collect, metavar="FILE", help="options from a YAML or JSON file; the command line wins")
    groups: dict[str, argparse._ArgumentGroup] = {name: parser.add_argument_group(name) for name in arguments_class.GROUPS}
    for option in options_of(arguments_class).values():
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        group = groups[option.group]
        extra: dict[str, object] = {}
        if option.kind is bool:
            extra = {"nargs": "?", "const": "True"}
        elif option.many:
            extra = {"nargs": "+"}
        metavar = option.metavar or ("|".join(option.choices) if option.choices else _METAVARS[option.kind])
        group.add_argument(f"--{option.name}", action=_Collect, help=_help(option), metavar=metavar, **extra)
        for alias in option.aliases:
            switch = {"nargs": "?", "const": "True"} if alias.means is not None else extra
            group.add_argument(f"--{alias.name}", action=_Collect, help=argparse.SUPPRESS, **switch)
        for name in (option.name, *(alias.name for alias in option.aliases)) if arguments_class.SINGLE_DASH else ():
            group.add_argument(f"-{name}", action=_Collect, help=argparse.SUPPRESS, **extra)
    for entry in arguments_class.OBSOLETE:
        nargs = {} if entry.takes_value else {"nargs": "?"}
        parser.add_argument(f"--{entry.name}", action=_Collect, help=argparse.SUPPRESS, **nargs)
    for foreign in arguments_class.FOREIGN:
        parser.add_argument(f"--{foreign.name}", action=_Collect, help=argparse.SUPPRESS, nargs="*")
    return parser


_METAVARS = {str: "TEXT", int: "N", float: "X", bool: "True|False", Path: "PATH"}


def _help(option: Option) -> str:
    also = "; also " + ", ".join(f"--{alias.name} [{alias.dialect}]" for alias in option.aliases) if option.aliases else ""
    return f"{option.help} (default: {option.default_words}{also})".replace("(default: required", "(required").replace("%", "%%")


def _join_exponents(argv: Iterable[str]) -> list[str]:
    """`--x -1e-5` as `--x=-1e-5`: argparse before Python 3.14 takes a negative number with exponent for an option."""
    joined: list[str] = []
    for word in argv:
        if joined and _EXPONENT.fullmatch(word) and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] = f"{joined[-1]}={word}"
        else:
            joined.append(word)
    return joined


def _refuse_extras(extras: list[str], known: Iterable[str]) -> None:
    if not extras:
        return
    unknown = next((word for word in extras if word.startswith("-")), None)
    if unknown is None:
        raise UserError(f"unexpected argument {extras[0]!r}\nexpected --name value: every value needs the name of its option")
    name = unknown.split("=")[0]
    hint = did_you_mean(name.lstrip("-"), known, "--").removeprefix("; ")
    raise UserError(f"unknown option {name}\n{hint[:1].upper() + hint[1:] or 'No option resembles it.'} All options: --help")


def _from_config(path: Path, known: list[str]) -> list[tuple[str, object, str]]:
    from tinybert.cli.config_file import read_config

    entries = []
    for key, value in read_config(path).items():
        if key not in known:
            raise UserError(f"--config {path}: unknown option {key}{did_you_mean(key, known)}")
        if value is not None:
            entries.append((key, value, f"--config {path}: {key}"))
    return entries


def _known(entry: tuple[str, object, str], options: dict[str, Option], spellings: dict[str, str]) -> _Found | None:
    """The occurrence by its canonical name, a switch as the value it stands for; None for what is no option here."""
    spelling, raw, shown = entry
    if spelling not in spellings:
        return None
    option = options[spellings[spelling]]
    means = next((alias.means for alias in option.aliases if alias.name == spelling), None)
    if means is not None:
        switched = raw if isinstance(raw, bool) else read_bool(str(raw))
        if switched is None:
            raise UserError(f"{shown} got {raw!r}\nexpected True or False")
        return _Found(option.name, spelling, means, shown) if switched else None
    return _Found(option.name, spelling, raw, shown)


def _read(part: list[_Found], options: dict[str, Option]) -> dict[str, tuple[object, str]]:
    """Value and spelling by canonical name; the last of equal spellings counts, two spellings must agree."""
    chosen: dict[str, tuple[object, str]] = {}
    shown: dict[str, str] = {}
    for found in part:
        value = options[found.name].read(found.raw, found.shown)
        before = chosen.get(found.name)
        if before and before[1] != found.spelling and before[0] != value:
            raise UserError(
                f"{shown[found.name]} says {before[0]}, {found.shown} says {value}\nboth are spellings of --{found.name}: give one of them"
            )
        chosen[found.name] = (value, found.spelling)
        shown[found.name] = found.shown
    return chosen
