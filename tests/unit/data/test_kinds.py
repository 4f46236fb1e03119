"""Task kinds, and that only their own file tests a kind by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tinybert
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS, get_kind, kind_of_labels, kind_of_outputs

ROOM = Path(tinybert.__file__).parent


def test_only_its_own_file_tests_a_kind_by_name():
    names = "|".join(KINDS)
    asked = re.compile(rf"""\.({names})\b|(==|!=|\bin\b|\bnot in\b)\s*\(?["']({names})["']|\b(outputs|num_outputs)\s*==\s*1\b""")
    found = [
        f"{path.relative_to(ROOM)}:{number}: {line.strip()}"
        for path in sorted(ROOM.rglob("*.py"))
        if path.parent.name != "kinds"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if asked.search(line)
    ]
    assert not found, "\n".join(found)


def test_kind_is_found_by_name_labels_or_outputs():
    assert all(get_kind(name).name == name for name in KINDS)
    assert kind_of_labels(("no", "yes")).name == kind_of_outputs(2).name == "classification"
    assert kind_of_labels(()).name == kind_of_outputs(1).name == "regression"
    with pytest.raises(UserError, match="expected one of classification"):
        get_kind("ranking")
