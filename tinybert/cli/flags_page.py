"""docs/flags.md: every option of every script, its other spellings, and what is accepted without effect."""

from __future__ import annotations

from tinybert.cli.main import OLD_SCRIPTS
from tinybert.commands.registry import all_commands
from tinybert.config.dialects import TRAINER_NAMES
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
    "`--lang zh|en`, `--help` and `--version`. Boolean options accept `--name`, `--name True` and `--name False`. Names "
    "are never abbreviated. Two spellings of one option must agree.",
)


def flags_page() -> str:
    """The whole page, in the chosen language."""
    parts = [f"{translate(text)}\n" for text in _HEADER]
    for script, kind in scripts().items():
        parts.append(f"## `{script}`\n\n{translate((kind.__doc__ or '').strip())}\n")
        options = list(kind.options().values())
        for group in dict.fromkeys([*kind.GROUPS, *(option.group for option in options)]):
            rows = [_row(option) for option in options if option.group == group]
            if rows:
                table = _table("option", "values", "default", "what", "also", rows=rows)
                parts.append("\n".join([f"### {translate(group)}", "", *table]) + "\n")
    named = dict.fromkeys(name for section in _SECTIONS for name in preset_names(section))
    rows = [[name, translate(read_preset(name).summary), ", ".join(of for of in _SECTIONS if name in preset_names(of))] for name in named]
    parts.append(f"## {translate('Presets')}\n\n" + "\n".join(_table("name", "what", "of", rows=rows)) + "\n")
    parts.append(
        f"## {translate('Accepted without effect')}\n\n{translate('Each prints a notice.')}\n\n"
        + "\n".join(_table("option", "why", "comes from", "accepted by", rows=_obsolete()))
        + "\n"
    )
    parts.append(
        f"## {translate('Switches of other procedures')}\n\n"
        f"{translate('Refused with advice, unless they are off.')}\n\n"
        + "\n".join(_table("option", "of", "what to do", rows=_foreign()))
        + "\n"
    )
    rows = [[f"`--{name}`", instead] for name, instead in TRAINER_NAMES.items()]
    parts.append(
        "## Names of other trainers\n\nRefused with this message.\n\n" + "\n".join(_table("option", "what to do", rows=rows)) + "\n"
    )
    rows = [[f"`{name}.py`", f"`tinybert {today}`"] for name, today in OLD_SCRIPTS.items()]
    parts.append("## Scripts of the published systems\n\n" + "\n".join(_table("script", "today", rows=rows)) + "\n")
    return "\n".join(parts)


def _row(option: Option) -> list[str]:
    also = "<br>".join(f"`--{alias.name}` ({alias.dialect})" for alias in option.aliases)
    return [
        f"`--{option.name}`",
        *(text.replace("<", "&lt;") for text in (_values(option), translate(option.default_words), translate(option.help))),
        also,
    ]


def _values(option: Option) -> str:
    """What may stand behind an option; the form of a text where it has one."""
    expected = translate(option.expected)
    return expected.replace(translate("text"), f"`{option.metavar}`", 1) if option.metavar and option.kind is str else expected


def _obsolete() -> list[list[str]]:
    found: dict[object, list[str]] = {}
    for script, kind in scripts().items():
        for entry in kind.IGNORED:
            found.setdefault(entry, []).append(script.rsplit("/", 1)[-1])
    return [[f"`--{entry.name}`", translate(entry.reason), entry.dialects, ", ".join(names)] for entry, names in found.items()]


def _foreign() -> list[list[str]]:
    entries = [entry for kind in scripts().values() for entry in kind.UNSUPPORTED]
    return [[f"`--{entry.name}`", translate(entry.owner), translate(entry.instead or "leave it out")] for entry in entries]


def _table(*header: str, rows: list[list[str]]) -> list[str]:
    lines = [list(map(translate, header)), ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
