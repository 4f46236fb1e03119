"""The pins of pyproject.toml and of the requirements files do not contradict each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinybert.models import hub

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
ROOT = Path(__file__).resolve().parents[2]
OTHER_IN_THE_SECOND_LANE = {"paddlenlp", "scipy", "paddle2onnx"}


def pins(lines: list[str]) -> dict[str, set[str]]:
    """The versions of all pinned packages by name."""
    found: dict[str, set[str]] = {}
    for name, number in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", "\n".join(lines), re.MULTILINE):
        found.setdefault(name.lower().replace("_", "-"), set()).add(number)
    return found


def test_every_dependency_is_pinned_and_lanes_agree_where_they_must():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    everything = [line for lines in groups.values() for line in lines]
    assert all("==" in line for line in everything)
    default, second = pins(everything), pins((ROOT / "requirements-2.6.txt").read_text().splitlines())
    assert {name for name in default.keys() & second.keys() if default[name] != second[name]} <= OTHER_IN_THE_SECOND_LANE
    assert set(pins(groups[""])) - set(second) == set(), "the second lane lacks what the project needs"
    assert "paddlepaddle" not in pins(groups[""]) and set(pins(groups["cpu"])) == {"paddlepaddle"}
    assert {"cpu", "export", "zh", "serve", "search", "cluster", "docs", "dev"} <= groups.keys()


def test_requirements_files_repeat_no_pin_of_pyproject():
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert pins((ROOT / name).read_text().splitlines()) == {}


def test_demo_model_wheel_is_pinned_with_its_hash():
    assert hub.EMBEDDED_WHEEL in (ROOT / "requirements-demo.txt").read_text()
