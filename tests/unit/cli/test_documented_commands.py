"""The commands, options and links on the pages are valid."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tinybert.cli.flags_page import scripts
from tinybert.cli.parser import parse, spellings_of

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh.md", "benchmark/glue/README.md", "pretrained_models/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands(page: Path) -> list[list[str]]:
    """The words of each line that calls one of the scripts, continued lines joined."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            words = shlex.split(line, comments=True)
            if words and any(name in " ".join(words) for name in scripts()):
                found.append(words)
    return found


def called(words: list[str]) -> tuple[type, list[str]]:
    """The arguments' class of a command, and the words behind the script."""
    for name, arguments_class in scripts().items():
        script = name.split()
        for at in range(len(words)):
            if words[at : at + len(script)] == script:
                return arguments_class, words[at + len(script) :]
    raise AssertionError(f"no script in {words}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_the_page_parse(page):
    for words in commands(page):
        arguments_class, options = called(words)
        known = {*spellings_of(arguments_class), "config", "help", "lang", "version"}
        unknown = [word for word in options if word.startswith("--") and word[2:].split("=")[0] not in known]
        if "..." in options:
            assert not unknown, f"{words}: {unknown}"
        else:
            parse(arguments_class, options)


OF_OTHERS = {"config", "help", "lang", "version", "no-deps"}  # of every script, and of pip


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not page.name.startswith("flags.")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_options_on_the_page_exist(page):
    known = OF_OTHERS.union(*(spellings_of(kind) for kind in scripts().values()))
    known |= {entry.name for kind in scripts().values() for entry in (*kind.IGNORED, *kind.UNSUPPORTED)}
    named = re.findall(r"`--([\w-]+)", page.read_text(encoding="utf-8"))
    tools = {"data", "list", "only"} if page.parent.name == "glue" else set()  # of measure.py
    assert not set(named) - known - tools


# === Links ===

LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "benchmark" / "speed" / "README.md", ROOT / "tests" / "README.md"]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
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
