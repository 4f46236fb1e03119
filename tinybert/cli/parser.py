"""Parses a command line into typed arguments: argparse on dataclasses, with aliases, configuration files and clear errors."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from tinybert import __version__, language
from tinybert.config.dialects import TRAINER_NAMES
from tinybert.config.options import Config, Entry, Option
from tinybert.config.reading import spellings_of, unknown_option
from tinybert.config.suggestions import did_you_mean
from tinybert.errors import UserError
from tinybert.language import translate
from tinybert.log import logger

C = TypeVar("C", bound=Config)
_EXPONENT = re.compile(r"-(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class _Collect(argparse.Action):
    """Collects every occurrence with its spelling; argparse alone keeps only the last."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        namespace.found.append(((option_string or "").lstrip("-"), values))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  argparse declares that it never returns
        missing = re.match(r"argument (--\w+).*: expected (?:one|at least one) argument", message)
        if missing:
            raise UserError(f"{missing[1]} has no value\nwrite {missing[1]} VALUE, or {missing[1]}=VALUE")
        raise UserError(message)


def parse(kind: type[C], argv: Sequence[str] | None = None, prog: str | None = None) -> C:
    """Parse a command line (default: this process's) into a configuration; its docstring is the description in `--help`.

    Ignored options print one line each on stderr. `--help` and `--version` print and raise SystemExit(0).

    Raises:
        UserError: an unknown option, an invalid value, contradictory options, or a missing required option.
    """
    parser = build_parser(kind, prog)
    argv = _join_exponents(sys.argv[1:] if argv is None else argv)
    namespace, extras = parser.parse_known_args(argv, argparse.Namespace(found=[]))
    _refuse_extras(extras, [*spellings_of(kind), "config", "lang", "help", "version"])
    line = [Entry(name, value, f"--{name}") for name, value in namespace.found if name not in ("config", "lang")]
    files = [value for name, value in namespace.found if name == "config"]
    if len(files) > 1:
        raise UserError(f"--config was given {len(files)} times\nexpected one file")
    config = kind.of(_from_file(Path(files[0]).expanduser()) if files else [], line)
    for notice in config.notices:
        logger.warning(notice.text)
    return config


def build_parser(kind: type[Config], prog: str | None = None) -> argparse.ArgumentParser:
    """The argparse parser of a dataclass: groups, defaults and aliases for `--help`, in the chosen language."""
    return _built(kind, prog, language.current(), tuple(kind.options()))  # plugins can register more options


@lru_cache(maxsize=32)
def _built(kind: type[Config], prog: str | None, _language: str, _names: tuple[str, ...]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=prog, description=translate((kind.__doc__ or "").strip()), allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter, usage="%(prog)s --name value ...", add_help=False,
    )  # fmt: skip
    about = parser.add_argument_group(translate("about"))
    about.add_argument("-h", "--help", action="help", help=translate("show this help and exit"))
    about.add_argument("--version", action="version", version=f"tinybert {__version__}", help=translate("show the version and exit"))
    about.add_argument(
        "--config", action=_Collect, metavar="FILE", help=translate("options from a YAML or JSON file; the command line takes precedence")
    )
    unset = translate("from LC_ALL, LC_MESSAGES or LANG; untranslated texts are in English")
    about.add_argument(
        "--lang", action=_Collect, metavar="|".join(language.LANGUAGES),
        help=f"{translate('language of help and messages')} ({translate('default: {}').format(unset)})",
    )  # fmt: skip
    groups: dict[str, argparse._ArgumentGroup] = {name: parser.add_argument_group(translate(name)) for name in kind.GROUPS}
    for option in kind.options().values():
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(translate(option.group))
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
        for name in (option.name, *(alias.name for alias in option.aliases)) if kind.SINGLE_DASH else ():
            group.add_argument(f"-{name}", action=_Collect, help=argparse.SUPPRESS, **extra)
    for entry in kind.IGNORED:
        nargs = {} if entry.takes_value else {"nargs": "?"}
        parser.add_argument(f"--{entry.name}", action=_Collect, help=argparse.SUPPRESS, **nargs)
    for foreign in kind.UNSUPPORTED:
        parser.add_argument(f"--{foreign.name}", action=_Collect, help=argparse.SUPPRESS, nargs="*")
    return parser


_METAVARS = {str: "TEXT", int: "N", float: "X", bool: "True|False", Path: "PATH"}


def _help(option: Option) -> str:
    spellings = ", ".join(f"--{alias.name} [{alias.dialect}]" for alias in option.aliases)
    also = f"; {translate('also')} {spellings}" if option.aliases else ""
    words = translate(option.default_words)
    default = words if option.default_words.startswith("required") else translate("default: {}").format(words)
    return f"{translate(option.help)} ({default}{also})".replace("%", "%%")


def _join_exponents(argv: Iterable[str]) -> list[str]:
    """Rewrite `--x -1e-5` as `--x=-1e-5`: argparse before Python 3.14 takes a negative number with exponent for an option."""
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
    if name.lstrip("-") in TRAINER_NAMES:
        raise UserError(unknown_option(name.lstrip("-"), known))
    hint = did_you_mean(name.lstrip("-"), known, "--").removeprefix("; ")
    raise UserError(f"unknown option {name}\n{hint[:1].upper() + hint[1:] or 'No option has a similar name.'} All options: --help")


def _from_file(path: Path) -> list[Entry]:
    from tinybert.config.options_file import read_options

    return [Entry(key, value, f"--config {path}: {key}") for key, value in read_options(path).items() if value is not None]
