"""Writes the tables of preset values on docs/methods.md from the preset files: `python docs/preset_tables.py`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tinybert.commands.registry import find_command
from tinybert.config.preset import preset_names, read_preset
from tinybert.data.tasks import TASKS

PAGE = Path(__file__).with_name("methods.md")
PRESETS = Path(__file__).parents[1] / "tinybert" / "config" / "presets"
STAGES = ("intermediate", "prediction")
NAMES = {task.lower().replace("-", ""): task for task in TASKS}


def tables() -> dict[str, str]:
    """The table of conventions, with the comments of `sound.yaml` as reasons, and that of numbers, by the name of their section."""
    conventions, numbers = [], []
    for option, sections in _options().items():
        rows = [[_value(name, section, option) for name in preset_names("distill")] for section in sections]
        for section, values in zip(sections, rows, strict=True):
            if len({str(value) for value in values if value is not None}) > (len(sections) == 1):
                plain = not any(isinstance(value, dict) for value in values) and sections == ["distill"]
                stage = "" if section == "distill" else f" ({section})"
                line = [f"`--{option}`{stage}", *map(_cell, values)]
                (conventions if plain else numbers).append([*line, _reasons().get(option, "")] if plain else line)
    names = [f"`{name}`" for name in preset_names("distill")]
    return {"conventions": _table(["option", *names, "reason for `sound`"], conventions), "numbers": _table(["option", *names], numbers)}


def _options() -> dict[str, list[str]]:
    """The options of distillation presets, each with the sections to show: both stages if any preset has values for one."""
    sections = [read_preset(name).sections for name in preset_names("distill")]
    known = find_command("distill").config.options()
    options = [option for entry in sections for part in ("distill", *STAGES) for option in entry.get(part, {}) if option in known]
    options = [option for option in options if not _reasons().get(option, "").startswith("no influence")]
    staged = {option for entry in sections for stage in STAGES for option in entry.get(stage, {})}
    return {option: list(STAGES) if option in staged else ["distill"] for option in dict.fromkeys(options)}


def _value(name: str, section: str, option: str) -> object:
    """The value in a preset file, None if there is none or the stage does not exist."""
    found = read_preset(name).sections
    if section == "intermediate" and section not in found:
        return None
    return found.get(section, {}).get(option, found["distill"].get(option))


def _cell(value: object) -> str:
    if not isinstance(value, dict):
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    if "default" not in value:
        return "<br>".join(f"{depth} layers: {_cell(table)}" for depth, table in value.items())
    return "; ".join([_cell(value["default"]), *_others(value)])


def _others(value: dict) -> Iterator[str]:
    for other in dict.fromkeys(number for number in value.values() if number != value["default"]):
        yield f"{', '.join(NAMES[task] for task in value if value[task] == other)}: {_cell(other)}"


def _reasons() -> dict[str, str]:
    text = (PRESETS / "sound.yaml").read_text(encoding="utf-8").split("\ndistill:\n")[1]
    return dict(re.findall(r"^  (\w+): .*?  # (.+)$", re.split(r"\n\w", text)[0], re.MULTILINE))


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |".replace("  ", " ") for cells in [header, *rows]]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def page() -> str:
    """The page with its marked sections replaced."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables().items():
        begin, end = f"<!-- presets: {name} -->\n", "\n<!-- end -->"
        before, after = text.split(begin)
        text = before + begin + table + end + after.split(end, 1)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
