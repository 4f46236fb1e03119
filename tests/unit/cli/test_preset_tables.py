"""The preset values on docs/methods.md are those of the preset files."""

from __future__ import annotations

import re

import pytest

from tests.pages import ROOT
from tinybert.config.preset import read_preset

PAGE = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")


def table(heading: str, columns: str) -> list[list[str]]:
    """The rows of the table with these columns after a heading."""
    rows = PAGE.split(f"\n## {heading}\n")[1].split(columns)[1].split("\n\n")[0]
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in rows.splitlines() if row.startswith("| `--")]


@pytest.mark.parametrize(
    ("heading", "columns", "presets"),
    [
        ("Conventions", "| option | `sound` | `huawei` | `paddlenlp` |", ("sound", "huawei", "paddlenlp")),
        ("MUD: selective hidden-state distillation", "| option | default | `--preset mud` |", ("sound", "mud")),
    ],
)
def test_preset_values_on_the_page_are_those_of_the_files(heading, columns, presets):
    rows = table(heading, columns)
    assert len(rows) >= 5
    for option, *shown in rows:
        values = [str(read_preset(name).values("distill", "intermediate", "MNLI")[option.removeprefix("--")]) for name in presets]
        assert shown[: len(presets)] == values, option


def test_presets_on_the_page_exist():
    named = set(re.findall(r"--preset (\w+)", PAGE)) - {"NAME"}
    assert named and all(read_preset(name).summary for name in named)
