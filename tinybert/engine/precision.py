"""Mixed precision with Paddle's own tools; rejected with a reason if the device does not support it."""

from __future__ import annotations

import contextlib

import numpy as np
import paddle
from paddle import nn

from tinybert.errors import UserError


class Precision:
    """The precision of a step: float32, or `O1` (some operators) or `O2` (also the weights) in float16 or bfloat16.

    float16 gradients are scaled; steps that overflow are skipped and counted in `skipped`.

    Raises:
        UserError: the device does not support mixed precision.
    """

    def __init__(self, level: str = "O0", dtype: str = "float16", device: str = "cpu") -> None:
        self.level, self.dtype = level, dtype
        self.enabled = level != "O0"
        self.skipped = 0
        if self.enabled:
            require(dtype, device)
        self.scaler = paddle.amp.GradScaler(enable=self.enabled and dtype == "float16", init_loss_scaling=2.0**15)

    def prepare(self, layer: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> tuple[nn.Layer, paddle.optimizer.Optimizer]:
        """Cast the weights for O2, with float32 master weights in the optimizer; otherwise change nothing."""
        if self.level != "O2":
            return layer, optimizer
        return paddle.amp.decorate(layer, optimizer, level="O2", dtype=self.dtype, master_weight=True)

    def autocast(self) -> contextlib.AbstractContextManager:
        """The context in which teacher and student run."""
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
        return float(np.asarray(self.scaler.state_dict()["scale"]).ravel()[0])

    def state(self) -> dict:
        """The scaler's state as JSON values."""
        values = {name: np.asarray(value).ravel().tolist() for name, value in self.scaler.state_dict().items()}
        return {"skipped": self.skipped, "scaler": values}

    def load_state(self, state: dict) -> None:
        """Restore the result of `state`."""
        self.skipped = state["skipped"]
        if self.scaler.is_enable():
            now = self.scaler.state_dict()
            self.scaler.load_state_dict(
                {
                    name: np.asarray(value, np.asarray(now[name]).dtype) if name == "scale" else value[0]
                    for name, value in state["scaler"].items()
                }
            )


def require(dtype: str, device: str) -> None:
    """Reject a half precision that the device does not support.

    Raises:
        UserError: says why, and what to do.
    """
    if device.startswith("cpu"):
        raise UserError(
            f"--amp with {dtype} has no effect on the CPU: Paddle's operators compute in float32 there.\nLeave --amp out, or run on a GPU."
        )
    if dtype == "bfloat16" and device.startswith("gpu") and not paddle.amp.is_bfloat16_supported():
        raise UserError("--amp_dtype bfloat16: this GPU does not support bfloat16 (it needs compute capability 8.0). Use float16.")
    if dtype == "float16" and not paddle.amp.is_float16_supported():
        raise UserError("--amp_dtype float16: this device does not support float16. Leave --amp out.")
