"""What a run on another device does differently: its logic on a CPU, with Paddle's own mixed precision on a stand-in device."""

from __future__ import annotations

import sys
import types

import numpy as np
import paddle
import pytest
from paddle import nn

import tinybert as tb
from tests import tiny
from tinybert import devices
from tinybert.devices import Precision
from tinybert.engine.optimizers import create_optimizer, load_optimizer_arrays, optimizer_arrays
from tinybert.errors import UserError

# === Choice ===


def card(monkeypatch, capability=(9, 0), version="3.3.1", kernel=None) -> None:
    """A Paddle for GPUs with one card, as far as `gpu_problem` needs it."""
    cuda = types.SimpleNamespace(device_count=lambda: 1, get_device_capability=lambda index: capability)
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device, "cuda", cuda)
    monkeypatch.setattr(paddle, "__version__", version)
    monkeypatch.setattr(paddle.Tensor, "cuda", kernel or (lambda x, index: x))
    monkeypatch.setattr(paddle, "set_device", lambda name: None)
    monkeypatch.setattr(paddle, "set_flags", lambda flags: None)


@pytest.mark.parametrize(
    ("capability", "serves"), [((6, 1), True), ((8, 9), True), ((7, 2), True), ((6, 0), False), ((9, 0), False), ((12, 0), False)]
)
def test_gpu_without_machine_code_in_paddle_2_6_is_refused(monkeypatch, capability, serves):
    card(monkeypatch, capability, "2.6.2")
    monkeypatch.delattr(paddle.version, "cuda_archs", raising=False)
    if serves:
        assert devices.set_device("gpu") == "gpu" and devices.set_device("auto") == "gpu"
    else:
        with pytest.raises(UserError, match=r"has machine code only for 6\.1, 7\.0, 7\.5, 8\.0, 8\.6(.|\n)*CUDA 12 or 13"):
            devices.set_device("gpu:0")
        assert devices.set_device("auto") == "cpu"


def test_gpu_on_which_no_kernel_runs_is_refused(monkeypatch):
    card(monkeypatch, kernel=lambda x, index: (_ for _ in ()).throw(OSError("External error\nno kernel image is available")))
    with pytest.raises(UserError, match=r"fails to run a first kernel on it: no kernel image is available"):
        devices.set_device("gpu")


def test_unknown_device_is_refused_with_the_available_ones(monkeypatch):
    monkeypatch.setattr(paddle.device, "get_all_custom_device_type", lambda: ["npu"])
    monkeypatch.setattr(paddle.device, "get_available_custom_device", lambda: ["npu:0"])
    chosen = []
    monkeypatch.setattr(paddle, "set_device", chosen.append)
    for name in ("mlu", "xpu:0"):
        with pytest.raises(UserError, match=rf"--device {name}: this Paddle \(.*\) has no such device\nexpected auto, cpu, npu"):
            devices.set_device(name)
    with pytest.raises(UserError, match="has only 1 npu"):
        devices.set_device("npu:1")
    assert chosen == [] and devices.set_device("npu:0") == "npu:0" and devices.set_device("gpu") == "cpu"
    assert chosen == ["npu:0", "cpu"]


def test_missing_devices_of_a_plug_in_are_refused(monkeypatch):
    monkeypatch.setattr(paddle.device, "get_all_custom_device_type", lambda: ["npu"])
    monkeypatch.setattr(paddle.device, "get_available_custom_device", list)
    with pytest.raises(UserError, match="has only 0 npu"):
        devices.set_device("npu")


@pytest.mark.parametrize(("kind", "given", "used"), [("gpu", "gpu", "gpu:3"), ("gpu", "gpu:0", "gpu:0"), ("npu", "npu", "npu:2")])
def test_each_process_uses_its_own_device(monkeypatch, kind, given, used):
    monkeypatch.setattr(devices, "device_kinds", lambda: ["cpu", kind])
    monkeypatch.setattr(devices, "_count", lambda kind: 4)
    monkeypatch.setattr(devices, "gpu_problem", lambda index=0: None)
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    monkeypatch.setenv("FLAGS_selected_gpus", "3")
    monkeypatch.setenv("FLAGS_selected_npus", "2")
    chosen, joined = [], []
    monkeypatch.setattr(paddle, "set_device", chosen.append)
    monkeypatch.setattr(paddle, "set_flags", lambda flags: None)
    monkeypatch.setattr(paddle.distributed, "init_parallel_env", lambda: joined.append(list(chosen)))
    assert devices.set_device(given) == used
    devices.start_processes()
    assert joined == [[used]]  # the backend is chosen by the device


def test_deterministic_kernels_follow_the_environment_on_a_gpu(monkeypatch):
    card(monkeypatch, (8, 0))
    found = []
    monkeypatch.setattr(paddle, "set_flags", found.append)
    devices.set_device("gpu")
    monkeypatch.setenv("FLAGS_embedding_deterministic", "0")
    devices.set_device("gpu")
    devices.set_device("cpu")
    assert found == [{"FLAGS_cudnn_deterministic": 1, "FLAGS_embedding_deterministic": 1}, {"FLAGS_cudnn_deterministic": 1}]


# === Precision ===


@pytest.fixture
def stand_in(monkeypatch):
    """The CPU, which Paddle's mixed precision takes for a GPU: O2 and loss scaling compute in full, O1 leaves operators in float32."""
    modules = [sys.modules[f"paddle.amp.{name}"] for name in ("auto_cast", "grad_scaler")]
    real = modules[0]._dygraph_tracer()
    place = types.SimpleNamespace(is_gpu_place=lambda: True, is_xpu_place=lambda: False, is_custom_place=lambda: False)

    class Tracer:
        def __getattr__(self, name):
            return place if name == "_expected_place" else getattr(real, name)

        def __setattr__(self, name, value):
            setattr(real, name, value)

    for module in modules:
        monkeypatch.setattr(module, "_dygraph_tracer", Tracer)
    for dtype in ("float16", "bfloat16"):
        monkeypatch.setattr(modules[0], f"_is_gpu_{dtype}_supported", lambda: True)
        monkeypatch.setattr(paddle.amp, f"is_{dtype}_supported", lambda: True)
    monkeypatch.setattr(devices, "current_device", lambda: "gpu:0")
    monkeypatch.setattr(devices, "is_on_cpu", lambda x: False)
    monkeypatch.setattr(paddle, "set_device", lambda name: None)
    return real


def net() -> nn.Layer:
    paddle.seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def bertadam(layer: nn.Layer) -> paddle.optimizer.Optimizer:
    optimizer = create_optimizer(layer, "bertadam", weight_decay=0.01, epsilon=1e-6, max_grad_norm=1.0, grad_clip="tensor")
    optimizer.set_lr(1e-3)
    return optimizer


def step(precision: Precision, layer: nn.Layer, optimizer, factor: float = 1.0) -> float:
    x = paddle.to_tensor(np.linspace(-1, 1, 12, dtype="float32").reshape([3, 4]))
    with precision.autocast():
        loss = (layer(x).astype("float32") ** 2).mean() * factor
    precision.scaler.scale(loss).backward()
    precision.update(optimizer)
    optimizer.clear_grad()
    return float(loss)


def arrays(layer: nn.Layer) -> dict[str, np.ndarray]:
    return {name: value.astype("float32").numpy() for name, value in layer.named_parameters()}


def test_float16_steps_that_overflow_are_skipped_and_counted(stand_in):
    layer, precision = net(), Precision("O1", "float16")
    optimizer = precision.prepare(layer, bertadam(layer))
    step(precision, layer, optimizer)
    before = arrays(layer)
    step(precision, layer, optimizer, factor=float("inf"))
    assert all(np.array_equal(before[name], array) for name, array in arrays(layer).items())
    step(precision, layer, optimizer)
    assert not np.array_equal(before["0.weight"], arrays(layer)["0.weight"])
    assert precision.skipped == 1 and precision.state()["scaler"]["scale"] == [2.0**14]
    again = Precision("O1", "float16")
    again.load_state(precision.state())
    assert again.state() == precision.state()


def test_step_runs_under_the_requested_precision(stand_in):
    for level, dtype in (("O1", "bfloat16"), ("O2", "float16")):
        with Precision(level, dtype).autocast():
            assert (stand_in._amp_level.name, stand_in._amp_dtype) == (level, dtype)
            with devices.full_precision():
                assert stand_in._amp_level.name == "O0"
    assert stand_in._amp_level.name == "O0" and not Precision("O1", "bfloat16").scaler.is_enable()
    assert str(Precision("O2", "bfloat16")) == "O2 bfloat16" and str(Precision()) == "float32"


@pytest.mark.parametrize(("dtype", "halves"), [("float16", "0 2"), ("bfloat16", "0 1 2")])  # Paddle keeps norms in float32 beside float16
def test_o2_updates_float32_copies_of_the_weights(stand_in, dtype, halves):
    layer, plain, precision = net(), net(), Precision("O2", dtype)
    optimizer, expected = precision.prepare(layer, bertadam(layer)), bertadam(plain)
    precision.scaler = paddle.amp.GradScaler(enable=False)  # the CPU cannot unscale half-precision gradients
    for _ in range(20):
        step(precision, layer, optimizer)
        step(Precision(), plain, expected)
    copies = {name: array for name, array in optimizer_arrays(optimizer, layer).items() if name.endswith("|master")}
    assert set(copies) == {f"{number}.{kind}|master" for number in halves.split() for kind in ("weight", "bias")}
    for name, array in copies.items():
        assert array.dtype == np.float32 and np.allclose(array, arrays(plain)[name.partition("|")[0]], atol=3e-3)
        half = dict(layer.named_parameters())[name.partition("|")[0]]
        assert str(half.dtype).endswith(dtype)
        assert np.array_equal(paddle.to_tensor(array).astype(half.dtype).astype("float32").numpy(), half.astype("float32").numpy())


def test_o2_optimizer_state_is_restored_exactly(stand_in):
    def trained(steps: int):
        layer, precision = net(), Precision("O2", "bfloat16")
        return layer, precision, precision.prepare(layer, bertadam(layer)), steps

    def run(layer, precision, optimizer, steps) -> dict[str, np.ndarray]:
        for _ in range(steps):
            step(precision, layer, optimizer)
        return optimizer_arrays(optimizer, layer)

    whole, first, second = trained(5), trained(2), trained(3)
    expected, saved = run(*whole), run(*first)
    for name, parameter in second[0].named_parameters():
        parameter.set_value(dict(first[0].named_parameters())[name].numpy())
    load_optimizer_arrays(second[2], second[0], saved)
    found = run(*second)
    assert found.keys() == expected.keys() and {name for name in found if name.startswith("0.bias")} == {
        "0.bias|master", "0.bias|moment1_0", "0.bias|moment2_0"
    }  # fmt: skip
    assert all(np.array_equal(found[name], array) for name, array in expected.items())


def test_bfloat16_run_is_resumed_exactly_and_saves_float32(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    tiny.learnable_rows(tmp_path / "SST-2", {"train": 24, "dev": 8}, seed=1)
    tiny.model_folder(tmp_path / "teacher", labels=("0", "1"))
    data, teacher = tb.load_task("SST-2", tmp_path / "SST-2"), tb.load(tmp_path / "teacher")
    training = {"batch_size": 8, "max_seq_length": 16, "learning_rate": 1e-3, "amp": "O2", "amp_dtype": "bfloat16"}

    class Crash(tb.Callback):
        def on_log(self, state):
            if state.step == 3:
                raise RuntimeError("ended on purpose")

    def distill(name: str, **more):
        student = tb.student_from(teacher, [1, 3])
        values = tb.Training(**training, max_steps=4, logging_steps=1, checkpoint_steps=2)
        more = {"preset": "huawei", "output_dir": tmp_path / name, "allow_weak_teacher": True, **more}  # bertadam, a frozen [PAD] row
        return tb.distill(teacher, student, data, training=values, **more)

    whole = distill("whole")
    with pytest.raises(RuntimeError, match="on purpose"):
        distill("cut", callbacks=[Crash()])
    resumed = distill("cut", resume=True)
    weights = [run.student.loaded.model.state_dict() for run in (whole, resumed)]
    assert all(value.dtype == paddle.float32 for value in weights[0].values())
    assert all(np.array_equal(value.numpy(), weights[1][name].numpy()) for name, value in weights[0].items())
    assert whole.record["prediction"]["precision"] == "O2 bfloat16"


def test_unsupported_precisions_are_refused(monkeypatch):
    with pytest.raises(UserError, match="on the CPU"):
        Precision("O1", "float16")
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: False)
    monkeypatch.setattr(paddle.amp, "is_float16_supported", lambda: False)
    for device, words in (("gpu:0", r"gpu:0 does not support bfloat16 \(it needs"), ("npu:1", r"npu:1 does not support bfloat16\.")):
        monkeypatch.setattr(devices, "current_device", lambda device=device: device)
        with pytest.raises(UserError, match=words):
            devices.check_precision("bfloat16")
        with pytest.raises(UserError, match="does not support float16"):
            devices.check_precision("float16")
