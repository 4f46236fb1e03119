"""Flags, allocator and devices: the environment takes precedence, and unusable devices are refused."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import types
from pathlib import Path

import paddle
import pytest

from tinybert import runtime
from tinybert.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FLAG = "FLAGS_use_stride_kernel"


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("0", False), ("1", True), ("True", True)])
@pytest.mark.parametrize("first", ["", "import paddle; "], ids=["Paddle later", "Paddle before"])
def test_strided_views_follow_the_environment_and_default_to_off(value, expected, first):
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


def card(monkeypatch, capability=(9, 0), version="3.3.1", kernel=None) -> None:
    """A Paddle for GPUs with one card, as far as `gpu_problem` needs it."""
    cuda = types.SimpleNamespace(device_count=lambda: 1, get_device_capability=lambda index: capability)
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device, "cuda", cuda)
    monkeypatch.setattr(paddle, "__version__", version)
    monkeypatch.setattr(paddle.Tensor, "cuda", kernel or (lambda x, index: x))
    monkeypatch.setattr(paddle, "set_device", lambda name: None)


@pytest.mark.parametrize(
    ("capability", "serves"), [((6, 1), True), ((8, 9), True), ((7, 2), True), ((6, 0), False), ((9, 0), False), ((12, 0), False)]
)
def test_gpu_without_machine_code_in_paddle_2_6_is_refused(monkeypatch, capability, serves):
    card(monkeypatch, capability, "2.6.2")
    monkeypatch.delattr(paddle.version, "cuda_archs", raising=False)
    if serves:
        assert runtime.set_device("gpu") == "gpu" and runtime.set_device("auto") == "gpu"
    else:
        with pytest.raises(UserError, match=r"has machine code only for 6\.1, 7\.0, 7\.5, 8\.0, 8\.6(.|\n)*CUDA 12 or 13"):
            runtime.set_device("gpu:0")
        assert runtime.set_device("auto") == "cpu"


def test_gpu_on_which_no_kernel_runs_is_refused(monkeypatch):
    card(monkeypatch, kernel=lambda x, index: (_ for _ in ()).throw(OSError("External error\nno kernel image is available")))
    with pytest.raises(UserError, match=r"fails to run a first kernel on it: no kernel image is available"):
        runtime.set_device("gpu")


def test_unknown_device_is_refused_with_the_available_ones(monkeypatch):
    monkeypatch.setattr(paddle.device, "get_all_custom_device_type", lambda: ["npu"])
    monkeypatch.setattr(paddle.device, "get_available_custom_device", lambda: ["npu:0"])
    chosen = []
    monkeypatch.setattr(paddle, "set_device", chosen.append)
    for name in ("mlu", "xpu:0"):
        with pytest.raises(UserError, match=rf"--device {name}: this Paddle \(.*\) has no such device\nexpected auto, cpu, npu"):
            runtime.set_device(name)
    with pytest.raises(UserError, match="has only 1 npu"):
        runtime.set_device("npu:1")
    assert chosen == [] and runtime.set_device("npu:0") == "npu:0" and runtime.set_device("gpu") == "cpu"
    assert chosen == ["npu:0", "cpu"]
