"""The commands, options and links on the pages: every command is understood by the script that it calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import PAGES, ROOT, blocks, called, command_lines
from tinybert.cli.flags_page import scripts
from tinybert.cli.parser import parse, spellings_of


def commands(page: Path) -> list:
    """The command and the arguments of each line that calls one of our commands."""
    lines = [line for _, _, code in blocks(page, "bash") for line in command_lines(code)]
    return [found for line in lines if (found := called(line))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_the_page_parse(page):
    for command, options in commands(page):
        known = {*spellings_of(command.config), "config", "help", "lang", "version"}
        unknown = [word for word in options if word.startswith("--") and word[2:].split("=")[0] not in known]
        if "..." in options:
            assert not unknown, f"{command.name} {options}: {unknown}"
        else:
            parse(command.config, options)


OF_OTHERS = {"config", "help", "lang", "version", "no-deps"}  # of every script, and of pip


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not page.name.startswith("flags.")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_options_on_the_page_exist(page):
    known = OF_OTHERS.union(*(spellings_of(kind) for kind in scripts().values()))
    known |= {entry.name for kind in scripts().values() for entry in (*kind.IGNORED, *kind.UNSUPPORTED)}
    named = re.findall(r"`--([\w-]+)", page.read_text(encoding="utf-8"))
    tools = {"data", "list", "modes", "only", "repeats", "steps"} if "benchmark" in page.parts else set()  # of measure.py and step.py
    assert not set(named) - known - tools


# === Links ===


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_on_the_page_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_pages_contain_commands():
    assert sum(len(commands(page)) for page in PAGES) > 30
