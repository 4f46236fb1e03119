"""The pages of the repository, with their commands and code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tinybert.commands.registry import Command, all_commands

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")),
    *(
        path
        for folder in ("benchmark", "docs", "findings", "notebooks", "pretrained_models", "tests")
        for path in sorted((ROOT / folder).glob("**/*.md"))
    ),
]


def blocks(page: Path, *languages: str) -> list[tuple[str, bool, str]]:
    """(language, whether a test runs it, code) of each block in these languages; `no-run`: needs a network, a GPU or an hour."""
    found = re.findall(r"^```(\w+)( no-run)?\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [(language, not mark, code) for language, mark, code in found if language in languages]


def command_lines(code: str) -> list[str]:
    """The lines of a bash block with continuations joined, without comments and blank lines."""
    lines = re.sub(r"\\\n\s*", " ", code).splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def called(line: str) -> tuple[Command, list[str]] | None:
    """Our command that a line calls last, with its arguments; None if it calls another program."""
    words = shlex.split(line, comments=True)
    for command in all_commands().values():
        for name in (command.script.removeprefix("python "), f"-m tinybert {command.name}", f"tinybert {command.name}"):
            script = name.split()
            for at in range(len(words)):
                if words[at : at + len(script)] == script:
                    return command, words[at + len(script) :]
    return None
