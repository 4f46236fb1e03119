"""`benchmark/gpu/check.py`: rejected without a GPU; its checks that also run on a CPU pass."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import paddle
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmark" / "gpu" / "check.py"


def check(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), "--output_dir", str(folder / "report"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def report_of(folder: Path, *words: str) -> dict:
    done = check(folder, "--device", "cpu", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "report" / "report.json").read_text())
    shown = (folder / "report" / "report.md").read_text()
    assert all(f"| {name} " in shown for name in report["findings"]) and report["about"]["device"] == "cpu"
    return report["findings"]


@pytest.mark.skipif(paddle.is_compiled_with_cuda(), reason="this Paddle can have a card")
def test_gpu_check_without_a_gpu_exits_with_2(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 2 and "sees no GPU" in done.stderr and not (tmp_path / "report").exists()


def test_gpu_check_refuses_unknown_checks(tmp_path):
    done = check(tmp_path, "--checks", "golden,silver")
    assert done.returncode == 2 and "unknown checks: silver" in done.stderr


def test_gpu_check_runs_selected_checks_on_a_cpu(tmp_path):
    assert report_of(tmp_path, "--checks", "amp")["amp"]["passed"] is None


def test_resumed_run_and_step_times_are_checked_on_a_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    script = runpy.run_path(str(SCRIPT))
    script["_world"](tmp_path)
    resumed, times = (script["CHECKS"][name]("cpu", tmp_path) for name in ("resume", "step_times"))
    assert resumed.passed and resumed.figures["difference_of_the_resumed_run"] == 0
    assert times.passed and times.figures["ratio"] > 0


@pytest.mark.long
def test_all_checks_pass_or_are_skipped_on_a_cpu(tmp_path):
    findings = report_of(tmp_path)
    left_out = {name for name, found in findings.items() if found["passed"] is None}
    assert left_out == {"against_cpu", "amp"} and findings["golden"]["figures"]["passed"] > 50
