"""Everything that a run on another device than the CPU does differently. No other module asks which device is in use.

* Choice: `--device` by kind and index, refused if this Paddle lacks the device or has no kernels for it.
* Precision: `--amp` with O1 and O2 in float16 or bfloat16, loss scaling, and the float32 copies of half-precision weights.
* Several processes: each uses its own device; Paddle's launcher chooses NCCL for GPUs and gloo for CPUs.
* Repeatability: on a GPU Paddle's deterministic kernels are selected, so that a resumed run repeats an uninterrupted one. Flags in the
  environment take precedence; `FLAGS_cudnn_deterministic=0 FLAGS_embedding_deterministic=0` restores Paddle's defaults.
* Copies: batches are copied by `paddle.to_tensor`, which waits. Pinned memory would only help if the loop did not wait for the loss
  of every micro-batch, and a batch of 32 x 128 tokens is 80 KB.

Limits: only the logic is tested, on a CPU; `benchmark/gpu/check.py` tests a GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinybert import runtime
from tinybert.errors import UserError
from tinybert.log import logger

if TYPE_CHECKING:
    import paddle
    from paddle import Tensor, nn

_CAPABILITIES_2_6 = ("6.1", "7.0", "7.5", "8.0", "8.6")  # of paddlepaddle-gpu 2.6.2, read from the wheel by findings/gpu_wheel_2_6_2.sh
_OTHER_BUILD = (
    "Install a build for CUDA 12 or 13 from Paddle's own index: https://www.paddlepaddle.org.cn/install/quick has the line. "
    "--device cpu computes without the card."
)
_DETERMINISTIC = ("FLAGS_cudnn_deterministic", "FLAGS_embedding_deterministic")
_MASTERS = "master_weights"  # Paddle's name in the state of an optimizer


# === Choice ===


def set_device(name: str) -> str:
    """Set the device `auto|cpu|gpu|xpu|NAME[:i]` and return the one actually used.

    auto: a GPU that this Paddle can use, else the CPU. gpu, if this Paddle has none: the CPU, with a warning, so that published
    command lines run everywhere.

    Raises:
        UserError: this Paddle has no such device, or no kernels for the card; names the available devices, or the build to install.
    """
    import paddle

    wanted = name.lower()
    kind, _, index = wanted.partition(":")
    there = device_kinds()
    if wanted == "auto":
        problem = gpu_problem() if "gpu" in there else None
        if problem:
            logger.warning(f"running on the CPU: {problem}")
        wanted = kind = "gpu" if "gpu" in there and not problem else "cpu"
    elif kind == "gpu" and "gpu" not in there:
        logger.warning(f"DEVICE: {name} was requested, but this Paddle ({paddle.__version__}) has none: running on the CPU")
        wanted = kind = "cpu"
    elif kind not in there or (kind != "cpu" and int(index or 0) >= _count(kind)):
        of_them = f"only {_count(kind)} {kind}" if kind in there else "no such device"
        raise UserError(f"--device {name}: this Paddle ({paddle.__version__}) has {of_them}\nexpected auto, {', '.join(there)}")
    elif kind == "gpu" and (problem := gpu_problem(int(index or 0))):
        raise UserError(f"--device {name}: {problem}")
    if ":" not in wanted and wanted != "cpu" and runtime.world_size() > 1:
        wanted = f"{wanted}:{os.environ.get(f'FLAGS_selected_{kind}s', '0').split(',')[0]}"
    paddle.set_device(wanted)
    if kind == "gpu":
        paddle.set_flags({flag: 1 for flag in _DETERMINISTIC if flag not in os.environ})
    return wanted


def device_kinds() -> list[str]:
    """The kinds of device that this Paddle can use here: cpu, gpu, xpu, and plug-ins such as npu."""
    import paddle

    gpu = ["gpu"] if paddle.is_compiled_with_cuda() and _count("gpu") > 0 else []
    xpu = ["xpu"] if paddle.is_compiled_with_xpu() else []
    return ["cpu", *gpu, *xpu, *paddle.device.get_all_custom_device_type()]


def _count(kind: str) -> int:
    import paddle

    if kind == "gpu":
        return paddle.device.cuda.device_count()
    if kind == "xpu":
        return paddle.device.xpu.device_count()
    return sum(device.partition(":")[0] == kind for device in paddle.device.get_available_custom_device())


def current_device() -> str:
    """The device in use, such as `cpu` or `gpu:0`."""
    import paddle

    return paddle.get_device()


def uses_cpu() -> bool:
    """Whether the device in use is the CPU."""
    return current_device() == "cpu"


def is_on_cpu(x: Tensor) -> bool:
    """Whether a tensor is in the memory of the CPU."""
    return x.place.is_cpu_place()


@contextlib.contextmanager
def restored_device() -> Iterator[None]:
    """Restore the device in use afterwards."""
    import paddle

    before = current_device()
    try:
        yield
    finally:
        paddle.set_device(before)


def start_processes() -> None:
    """Join the process group of `paddle.distributed.launch`; without effect for a single process."""
    if runtime.world_size() > 1:
        import paddle

        paddle.distributed.init_parallel_env()


# === GPUs ===


def gpus() -> list[tuple[str, str | None]]:
    """The name of every GPU, and its problem, if any."""
    import paddle

    cards = range(_count("gpu")) if "gpu" in device_kinds() else ()
    return [(paddle.device.cuda.get_device_name(card), gpu_problem(card)) for card in cards]


def gpu_problem(index: int = 0) -> str | None:
    """Why this Paddle cannot compute on a GPU, and which build to install; None if it can. Runs one small kernel."""
    import paddle

    capability = "{}.{}".format(*paddle.device.cuda.get_device_capability(index))
    cuda = paddle.version.cuda()
    held = [f"{number // 10}.{number % 10}" for number in map(int, getattr(paddle.version, "cuda_archs", list)() or ())]
    held = held or (list(_CAPABILITIES_2_6) if paddle.__version__.startswith("2.6.") else [])
    words = f"the card has compute capability {capability}, this Paddle ({paddle.__version__}, CUDA {cuda})"
    if paddle.__version__.startswith("2.6.") and not any(_serves(one, capability) for one in held):
        return f"{words} has machine code only for {', '.join(held)}.\n{_OTHER_BUILD}"
    try:
        x = paddle.ones([2, 2]).cuda(index)
        right = float((x * x + x).sum()) == 8.0
    except Exception as error:  # Paddle wraps CUDA's errors in several classes
        return f"{words} fails to run a first kernel on it: {str(error).strip().splitlines()[-1][:200]}\n{_OTHER_BUILD}"
    return None if right else f"{words} computes wrong sums on it.\n{_OTHER_BUILD}"


def _serves(machine_code: str, card: str) -> bool:
    """Whether a card runs this machine code: same major capability, and the same or a higher minor one."""
    (major, minor), (card_major, card_minor) = (map(int, one.split(".")) for one in (machine_code, card))
    return major == card_major and minor <= card_minor


# === Precision ===


class Precision:
    """The precision of a step: float32, or `O1` (some operators) or `O2` (also the weights) in float16 or bfloat16.

    float16 gradients are scaled; steps that overflow are skipped and counted in `skipped`.

    Raises:
        UserError: the device in use does not support mixed precision.
    """

    def __init__(self, level: str | None = None, dtype: str = "float16") -> None:
        import paddle

        self.level, self.dtype = level or "O0", dtype
        self.enabled = level is not None
        self.skipped = 0
        if self.enabled:
            check_precision(dtype)
        self.scaler = paddle.amp.GradScaler(enable=self.enabled and dtype == "float16", init_loss_scaling=2.0**15)

    def __str__(self) -> str:
        return f"{self.level} {self.dtype}" if self.enabled else "float32"

    def prepare(self, layer: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> paddle.optimizer.Optimizer:
        """Cast the weights for O2, with float32 copies in the optimizer, which is returned; otherwise change nothing."""
        import paddle

        if self.level != "O2":
            return optimizer
        return paddle.amp.decorate(layer, optimizer, level="O2", dtype=self.dtype, master_weight=True)[1]

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context in which teacher and student run, in training and in evaluation: O2's weights fit no float32 operator."""
        import paddle

        if not self.enabled:
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(level=self.level, dtype=self.dtype)

    def update(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """One optimizer step; skipped and counted if scaled gradients overflowed."""
        if not self.scaler.is_enable():
            optimizer.step()
            return
        before = self._scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        self.skipped += self._scale() < before

    def _scale(self) -> float:
        import numpy as np

        return float(np.asarray(self.scaler.state_dict()["scale"]).ravel()[0])

    def state(self) -> dict:
        """The scaler's state as JSON values."""
        import numpy as np

        values = {name: np.asarray(value).ravel().tolist() for name, value in self.scaler.state_dict().items()}
        return {"skipped": self.skipped, "scaler": values}

    def load_state(self, state: dict) -> None:
        """Restore the result of `state`."""
        import numpy as np

        self.skipped = state["skipped"]
        if self.scaler.is_enable():
            now = self.scaler.state_dict()
            self.scaler.load_state_dict(
                {
                    name: np.asarray(value, np.asarray(now[name]).dtype) if name == "scale" else value[0]
                    for name, value in state["scaler"].items()
                }
            )


def check_precision(dtype: str) -> None:
    """Reject a half precision that the device in use does not support.

    Raises:
        UserError: says why, and what to do.
    """
    import paddle

    device = current_device()
    if device == "cpu":
        raise UserError(
            f"--amp with {dtype} has no effect on the CPU: Paddle's operators compute in float32 there.\nLeave --amp out, or run on a GPU."
        )
    if dtype == "bfloat16" and not paddle.amp.is_bfloat16_supported():
        needs = " (it needs compute capability 8.0)" if device.startswith("gpu") else ""
        raise UserError(f"--amp_dtype bfloat16: {device} does not support bfloat16{needs}. Use float16.")
    if dtype == "float16" and not paddle.amp.is_float16_supported():
        raise UserError(f"--amp_dtype float16: {device} does not support float16. Leave --amp out.")


def full_precision() -> contextlib.AbstractContextManager:
    """A context without mixed precision inside that of a step."""
    import paddle

    return paddle.amp.auto_cast(enable=False)


def updated_weight(optimizer: paddle.optimizer.Optimizer, parameter: Tensor) -> Tensor:
    """What an optimizer updates: the float32 copy of a half-precision parameter, else the parameter itself."""
    import paddle

    if parameter.dtype in (paddle.float16, paddle.bfloat16):
        return optimizer._create_master_weight(parameter)
    return parameter


def float32_copies(state: dict) -> dict[str, Tensor]:
    """The float32 copies of half-precision weights in an optimizer's state, by the framework name of the parameter."""
    return state.get(_MASTERS, {})


def add_float32_copy(state: dict, parameter: Tensor, copy: Tensor) -> Tensor:
    """Add the float32 copy of a parameter to an optimizer's state; returns it with the name by which Paddle finds its moments."""
    copy.name = f"{parameter.name}_fp32_master_0"
    state.setdefault(_MASTERS, {})[parameter.name] = copy
    return copy
