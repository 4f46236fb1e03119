"""The table of families, and that no other module tests a family by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tinybert
from tinybert.errors import UserError
from tinybert.models.families import MODEL_TYPES, family, family_of_config

ROOM = Path(tinybert.__file__).parent


def test_only_the_table_of_families_tests_a_family_by_name():
    names = "|".join(f"{name}|{family(name).stem}" for name in MODEL_TYPES)
    asked = re.compile(rf"""(model_type|family|prefix|base|kind)\)?\s*(==|!=|\bin\b|\bnot in\b)\s*\(?["']({names})["']""")
    found = [
        f"{path.relative_to(ROOM)}:{number}: {line.strip()}"
        for path in sorted(ROOM.rglob("*.py"))
        if path.name != "families.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if asked.search(line) and "--method" not in line
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_each_family_names_existing_paddlenlp_classes(model_type):
    row = family(model_type)
    assert row.head_class().base_model_prefix == row.encoder.base_model_prefix == row.base
    assert issubclass(row.head_class().config_class, row.config)
    assert family_of_config({"architectures": [row.encoder.__name__]}, "here") is row


def test_aliases_resolve_to_their_family():
    assert family("MacBERT") is family("bert") and family("tiny_bert") is family("tinybert")
    with pytest.raises(UserError, match="model type 'gpt2' is not supported"):
        family("gpt2")
