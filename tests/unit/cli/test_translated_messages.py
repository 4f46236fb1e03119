"""Every message in the code has a Chinese text."""

from __future__ import annotations

import ast
import re

import pytest

from tests.unit.structure.test_structure import FILES, ROOT
from tinybert import language
from tinybert.data import content

MESSAGES = {"info", "warning", "error", "detail", "UserError", "NumericalError", "Diagnosis", "Notice"}
MESSAGES |= {"Interrupted", "RecordError", "raise_for_differences", "caption", "translate"}
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
                parts = [each for part in node.args for each in ([part.body, part.orelse] if isinstance(part, ast.IfExp) else [part])]
                lines = [line for part in parts for line in template(part).split("\n")]
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


def test_every_recognised_file_has_a_chinese_name_and_advice(chinese):
    texts = [text for _, *both in content._MAGIC for text in both if " " in text]
    assert texts and not [text for text in texts if language.translate(text) == text]
