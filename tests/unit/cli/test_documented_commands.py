"""The commands on the pages: every one is understood by the script that it calls."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tinybert.cli.flags_page import SCRIPTS
from tinybert.cli.parser import parse, spellings_of

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmark" / "glue" / "README.md"]


def commands(page: Path) -> list[list[str]]:
    """The words of each line that calls one of the scripts, continued lines joined."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            words = shlex.split(line, comments=True)
            if words and any(name in " ".join(words) for name in SCRIPTS):
                found.append(words)
    return found


def called(words: list[str]) -> tuple[type, list[str]]:
    """The arguments' class of a command, and the words behind the script."""
    for name, arguments_class in SCRIPTS.items():
        script = name.split()
        for at in range(len(words)):
            if words[at : at + len(script)] == script:
                return arguments_class, words[at + len(script) :]
    raise AssertionError(f"no script in {words}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_a_command_that_is_refused(page):
    for words in commands(page):
        arguments_class, options = called(words)
        known = {*spellings_of(arguments_class), "config", "help", "version"}
        unknown = [word for word in options if word.startswith("--") and word[2:].split("=")[0] not in known]
        if "..." in options:
            assert not unknown, f"{words}: {unknown}"
        else:
            parse(arguments_class, options)


def test_commands_are_not_found():
    assert sum(len(commands(page)) for page in PAGES) > 30
