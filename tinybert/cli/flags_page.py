"""docs/flags.md: every option of every script with its other spellings, and what is accepted without effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tinybert.cli.main import OLD_SCRIPTS
from tinybert.commands.registry import all_commands
from tinybert.config.dialects import TRAINER_NAMES
from tinybert.config.groups import PRESET
from tinybert.config.options import Config, Option
from tinybert.config.preset import preset_names, read_preset
from tinybert.language import translate


def scripts() -> dict[str, type[Config]]:
    """The configuration of every script and command, by what is typed for it."""
    return {entry.script: entry.config for entry in all_commands().values()}


_SECTIONS = ("distill", "finetune", "general", "pregenerate", "augment")
_HEADER = (
    "# Options",
    "Made by `python -m tinybert flags > docs/flags.md`; a test compares the two.",
    "Every script also accepts `--config FILE` (YAML or JSON with the names below; the command line takes precedence), "
    "`--lang zh|en`, `--help` and `--version`. A bool accepts `--name`, `--name True` or `--name False`. Names are never abbreviated. "
    "The first name of an option is this project's; the others mean the same and come from other scripts (`--help` says which). "
    "If several are given, they must agree.",
    "An empty default means not set. `preset`: the value of `--preset`, which every run prints before it starts. Options that several "
    "scripts share are explained once, in [Shared options](#shared-options).",
)


def flags_page() -> str:
    """The whole page, in the chosen language."""
    parts = list(map(translate, _HEADER))
    shared = _shared_rows()
    for script, kind in scripts().items():
        parts.append(f"## `{script}`\n\n{translate((kind.__doc__ or '').strip())}")
        rows = _rows(kind)
        taken = {group: [name for name in names if rows.get(name, ("", ()))[1] == names[name]] for group, names in shared.items()}
        if any(taken.values()):
            lines = [f"* {translate(group)}: {_some(names, list(shared[group]))}" for group, names in taken.items() if names]
            parts.append("\n".join([translate("Shared options:"), "", *lines]))
        own = {name: row for name, row in rows.items() if not any(name in names for names in taken.values())}
        parts += _option_tables(own.values())
    parts.append(f"## {translate('Shared options')}")
    parts += _option_tables((group, row) for group, names in shared.items() for row in names.values())
    return "\n\n".join([*parts, *_presets(), *_without_effect(), *_published_scripts()]) + "\n"


def _rows(kind: type[Config]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The group and the row of every option of a script, in the order of its groups."""
    options = list(kind.options().values())
    groups = list(dict.fromkeys([*kind.GROUPS, *(option.group for option in options)]))
    return {option.name: (option.group, _row(option)) for option in sorted(options, key=lambda option: groups.index(option.group))}


def _shared_rows() -> dict[str, dict[str, tuple[str, ...]]]:
    """By group and name, the row that most scripts with an option of this name have, where at least two have it."""
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for kind in scripts().values():
        for name, entry in _rows(kind).items():
            found.setdefault(name, []).append(entry)
    shared: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, entries in found.items():
        row, count = Counter(row for _, row in entries).most_common(1)[0]
        if count > 1:
            shared.setdefault(entries[0][0], {})[name] = row
    return shared


def _some(names: list[str], every: list[str]) -> str:
    """Names out of a group, by the shorter of what is in and what is not."""
    missing = [name for name in every if name not in names]
    if not missing:
        return translate("all")
    listed = ", ".join(f"`--{name}`" for name in (missing if len(missing) < len(names) else names))
    return translate("all but {}").format(listed) if len(missing) < len(names) else listed


def _option_tables(entries: Iterable[tuple[str, tuple[str, ...]]]) -> list[str]:
    """A table for each group of (group, row)."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for group, (names, value, *texts) in entries:
        groups.setdefault(group, []).append((names, value, *(translate(text).replace("<", "&lt;") for text in texts)))
    return [_table(group, "value", "default", "what", rows=rows) for group, rows in groups.items()]


def _row(option: Option) -> tuple[str, ...]:
    """Names, values, default and help, not translated yet."""
    names = "<br>".join(f"`--{name}`" for name in (option.name, *(alias.name for alias in option.aliases)))
    if option.unset == PRESET:
        default = "preset"
    elif isinstance(option.default, list):
        default = ", ".join(map(str, option.default))
    else:
        default = "" if option.default is None and not option.unset else option.default_words
    return names, _value(option), default, option.help


def _value(option: Option) -> str:
    """What may stand behind an option, in a notation that needs no translation."""
    if option.choices or option.metavar:
        return ", ".join(option.choices) or f"`{option.metavar}`"
    name = {str: "text", Path: "path"}.get(option.kind, option.kind.__name__)
    bounds = [
        f"{sign}{bound:g}"
        for sign, bound in (("≥", option.at_least), (">", option.above), ("≤", option.at_most), ("<", option.below))
        if bound is not None
    ]
    return " ".join([f"list[{name}]" if option.many else name, *bounds]).replace("<", "&lt;")


def _presets() -> list[str]:
    named = dict.fromkeys(name for section in _SECTIONS for name in preset_names(section))
    rows = [[name, translate(read_preset(name).summary), ", ".join(of for of in _SECTIONS if name in preset_names(of))] for name in named]
    return [f"## {translate('Presets')}", _table("name", "what", "of", rows=rows)]


def _without_effect() -> list[str]:
    """Options of other scripts and trainers, by the commands that accept or refuse them; the run says why and what to do."""
    accepted: dict[str, list[str]] = {}
    for script, kind in scripts().items():
        for entry in kind.IGNORED:
            accepted.setdefault(entry.name, []).append(script)
    by_scripts: dict[str, list[str]] = {}
    for name, found in accepted.items():
        by_scripts.setdefault(", ".join(f"`{script}`" for script in found), []).append(f"`--{name}`")
    refused = [entry.name for kind in scripts().values() for entry in kind.UNSUPPORTED] + list(TRAINER_NAMES)
    return [
        f"## {translate('Accepted without effect')}",
        translate("Each prints the reason."),
        _table("accepted by", "option", rows=[[found, ", ".join(names)] for found, names in by_scripts.items()]),
        f"## {translate('Options of other scripts')}",
        translate("Refused with what to use instead:") + " " + ", ".join(f"`--{name}`" for name in refused),
    ]


def _published_scripts() -> list[str]:
    rows = [[f"`{name}.py`", f"`tinybert {today}`"] for name, today in OLD_SCRIPTS.items()]
    return [f"## {translate('Scripts of the published systems')}", _table("script", "today", rows=rows)]


def _table(*header: str, rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in [list(map(translate, header)), *rows]]
    return "\n".join([lines[0], "|".join(["---"] * len(header)), *lines[1:]])
