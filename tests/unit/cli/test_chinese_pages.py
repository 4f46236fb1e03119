"""The Chinese pages have the headings, commands and options of the English ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = ["README.md", *(f"docs/{name}.md" for name in ("guide", "data", "deploy", "troubleshooting", "flags"))]


def parts(path: Path) -> dict[str, object]:
    """The common structure of the two pages: levels of headings, code blocks, table rows, in order; options in any order."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    runs = ("bash", "python") if path.parent == ROOT else ("bash",)  # the Chinese page on deployment links to longer code
    lines = [line for language, code in blocks if language in runs for line in code.splitlines()]
    commands = [re.sub(r"\s*#.*", "", line) for line in lines if not line.startswith("#")]
    return {
        "headings": [len(level) for level in re.findall(r"^(#+) ", prose, re.MULTILINE)],
        "commands": [re.sub(r"reviews|CUT|DIR|目录|剪枝目录", "…", command) for command in commands],
        "table rows": len(re.findall(r"^.* \| ", prose, re.MULTILINE)),
        "options": set(re.findall(r"--([A-Za-z]\w+)", text)),
    }


@pytest.mark.parametrize("page", PAGES)
def test_chinese_page_has_the_headings_commands_and_options_of_the_english(page):
    english, chinese = parts(ROOT / page), parts(ROOT / page.replace(".md", ".zh.md"))
    for name, expected in english.items():
        assert chinese[name] == expected, f"{page.replace('.md', '.zh.md')}: {name} differ from {page}"
