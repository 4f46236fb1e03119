"""docs/flags.md: every option of every script, its other spellings, and what is accepted without effect."""

from __future__ import annotations

from tinybert.config.arguments import (
    ConvertArguments,
    DemoArguments,
    DoctorArguments,
    DownloadArguments,
    FinetuneArguments,
    GeneralDistillArguments,
    TaskDistillArguments,
)
from tinybert.config.augment import PRESETS as AUGMENT_PRESETS
from tinybert.config.augment import AugmentArguments
from tinybert.config.options import Arguments, Option, options_of
from tinybert.config.predict import PredictArguments
from tinybert.config.pregenerate import PregenerateArguments
from tinybert.config.presets import PRESETS
from tinybert.config.prune import PruneArguments

SCRIPTS: dict[str, type[Arguments]] = {
    "task_distill.py": TaskDistillArguments,
    "benchmark/glue/run_glue.py": FinetuneArguments,
    "general_distill.py": GeneralDistillArguments,
    "python -m tinybert pregenerate": PregenerateArguments,
    "data_augmentation.py": AugmentArguments,
    "python -m tinybert demo": DemoArguments,
    "python -m tinybert prune": PruneArguments,
    "python -m tinybert convert": ConvertArguments,
    "python -m tinybert predict": PredictArguments,
    "python -m tinybert doctor": DoctorArguments,
    "python -m tinybert download": DownloadArguments,
}
_HEADER = """# Options

Made by `python -m tinybert flags > docs/flags.md`; a test compares the two.

Every script also takes `--config FILE` (YAML or JSON with the names below; the command line wins), `--help` and
`--version`. True-or-false options take `--name`, `--name True` and `--name False`. Names are never abbreviated. Two
spellings of one option must agree.
"""


def flags_page() -> str:
    """The whole page."""
    parts = [_HEADER]
    for script, arguments_class in SCRIPTS.items():
        parts.append(f"## `{script}`\n\n{(arguments_class.__doc__ or '').strip()}\n")
        options = list(options_of(arguments_class).values())
        for group in dict.fromkeys([*arguments_class.GROUPS, *(option.group for option in options)]):
            rows = [_row(option) for option in options if option.group == group]
            if rows:
                parts.append("\n".join([f"### {group}", "", *_table("option", "values", "default", "what", "also", rows=rows)]) + "\n")
    for title, presets in (("Presets", PRESETS), ("Presets of `data_augmentation.py`", AUGMENT_PRESETS)):
        parts.append(f"## {title}\n\n" + "\n".join(_table("name", "what", rows=[[p.name, p.summary] for p in presets.values()])) + "\n")
    parts.append(
        "## Accepted without effect\n\nEach prints one line.\n\n"
        + "\n".join(_table("option", "why", "comes from", "accepted by", rows=_obsolete()))
        + "\n"
    )
    parts.append(
        "## Switches of other procedures\n\nRefused, unless they are off, with a line that says what to do.\n\n"
        + "\n".join(_table("option", "of", "what to do", rows=_foreign()))
        + "\n"
    )
    return "\n".join(parts)


def _row(option: Option) -> list[str]:
    also = "<br>".join(f"`--{alias.name}` ({alias.dialect})" for alias in option.aliases)
    return [
        f"`--{option.name}`",
        *(text.replace("<", "&lt;") for text in (_values(option), option.default_words, option.help)),
        also,
    ]


def _values(option: Option) -> str:
    """What may stand behind an option; the form of a text where it has one."""
    return option.expected.replace("text", f"`{option.metavar}`", 1) if option.metavar and option.kind is str else option.expected


def _obsolete() -> list[list[str]]:
    scripts: dict[object, list[str]] = {}
    for script, arguments_class in SCRIPTS.items():
        for entry in arguments_class.OBSOLETE:
            scripts.setdefault(entry, []).append(script.rsplit("/", 1)[-1])
    return [[f"`--{entry.name}`", entry.reason, entry.dialects, ", ".join(names)] for entry, names in scripts.items()]


def _foreign() -> list[list[str]]:
    entries = [entry for arguments_class in SCRIPTS.values() for entry in arguments_class.FOREIGN]
    return [[f"`--{entry.name}`", entry.owner, entry.instead or "leave it out"] for entry in entries]


def _table(*header: str, rows: list[list[str]]) -> list[str]:
    lines = [list(header), ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
