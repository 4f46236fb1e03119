"""Every message in the code has a Chinese text."""

from __future__ import annotations

import ast
import re

import pytest

from tests.unit.structure.test_structure import FILES, ROOT
from tinybert import language

MESSAGES = {"info", "warning", "error", "detail", "UserError", "NumericalError", "Diagnosis", "Notice"}
UNTRANSLATED = re.compile(r"pip install \S+| *tinybert [\w -]+|an object such as .*|the x x")  # commands, JSON, names


def template(node: ast.expr) -> str:
    """A message with `{}` for everything that is computed."""
    if isinstance(node, ast.JoinedStr):
        return re.sub(r"(\{\})+", "{}", "".join(map(template, node.values)))
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "{}"


def messages() -> list[tuple[str, str]]:
    """Where each line of a message is, and the line."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in MESSAGES:
                lines = [line for part in node.args for line in template(part).split("\n")]
                found += [(f"{path.relative_to(ROOT)}:{node.lineno}", line) for line in lines if re.search("[a-z]{3}.* [a-z]{3}", line)]
    return found


@pytest.fixture
def chinese():
    language.choose(["--lang", "zh"])
    yield
    language.choose([], {})


def test_every_message_has_a_chinese_text(chinese):
    lines = {line.removesuffix("{}").replace("{}", "x"): place for place, line in messages()}
    assert len(lines) > 500
    english = [line for line in lines if language.translate(line) == line and not UNTRANSLATED.fullmatch(line)]
    missing = {line: lines[line] for line in english}
    assert not missing, f"add these to tinybert/language/zh_CN.po: {missing}"
