"""Flags and allocator: the environment takes precedence."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tinybert import runtime

ROOT = Path(__file__).resolve().parents[2]
FLAG = "FLAGS_use_stride_kernel"


LATER, BEFORE = "", "import paddle; "


@pytest.mark.parametrize(
    ("first", "value", "expected"),
    [(LATER, None, False), (LATER, "True", True), (BEFORE, None, False), (BEFORE, "0", False), (BEFORE, "1", True)],
)
def test_strided_views_follow_the_environment_and_default_to_off(first, value, expected):
    environment = {name: text for name, text in os.environ.items() if name != FLAG} | ({FLAG: value} if value else {})
    code = f"{first}from tinybert import runtime; runtime.prepare(1); import paddle; print(paddle.get_flags('{FLAG}')['{FLAG}'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split()[-1] == str(expected)


@pytest.mark.parametrize("refused", [False, True])
def test_old_glibc_that_refuses_a_high_threshold_never_maps_blocks(monkeypatch, refused):
    calls: dict[int, int] = {}

    def mallopt(parameter: int, value: int) -> int:
        calls[parameter] = value
        return int(not (refused and parameter == -3))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.17"))
    runtime._keep_memory()
    assert calls == {-3: 1 << 30, -1: 2**31 - 1, -2: 256 << 20} | ({-4: 0} if refused else {})


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("nothing may be called"))
    runtime._keep_memory()
