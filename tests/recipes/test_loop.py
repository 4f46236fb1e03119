"""Custom state and mixed precision in the training loop."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle import nn

from tinybert.data.epochs import EpochBatches
from tinybert.data.store import TokenStore
from tinybert.engine import checkpoint
from tinybert.engine.loop import Callbacks, Loop, LoopSettings
from tinybert.engine.optimizers import create_optimizer
from tinybert.engine.precision import Precision
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.schedules import schedule
from tinybert.errors import UserError


class _Running:
    """A participant: an array that every step changes."""

    def __init__(self) -> None:
        self.value = np.zeros(2)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"value": self.value}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.value = arrays["value"].copy()


def _loop(folder, steps: int, participant=None, factor=lambda step: 1.0, batch_size: int = 4, accumulation: int = 1) -> Loop:
    paddle.seed(1)
    layer = nn.Linear(1, 1)
    store = TokenStore.from_arrays([[1] * (1 + i % 5) for i in range(20)], labels=np.arange(20, dtype=np.float32) / 20)
    calls = iter(range(10**6))

    def forward(batch):
        if participant is not None:
            participant.value = participant.value * 0.5 + batch.rows[:2]
        x = paddle.to_tensor(batch.attention_mask.sum(1, keepdims=True))
        loss = ((layer(x).squeeze(-1) - paddle.to_tensor(batch.labels)) ** 2).mean() * batch.share["rows"] * factor(next(calls))
        return {"gold": loss, "loss": loss}

    optimizer = create_optimizer(layer, "adamw", weight_decay=0.0, epsilon=1e-6, max_grad_norm=1.0, grad_clip="global")
    return Loop(
        LoopSettings(total_steps=steps, logging_steps=1, checkpoint_steps=2),
        layer,
        optimizer,
        schedule("constant", 0.01, steps, 0.0),
        EpochBatches([store], batch_size, seed=1, accumulation=accumulation),
        Callbacks(forward, lambda step: {"score": float(step)}, ("score", "max"), lambda step: None),
        RunFolder(folder, "toy"),
        {"steps": steps},
        participants={} if participant is None else {"running": participant},
    )


def test_custom_state_is_restored_on_resume(tmp_path):
    whole, cut = _Running(), _Running()
    _loop(tmp_path / "whole", 9, whole).run()
    first = _loop(tmp_path / "cut", 9, cut)
    first.settings = LoopSettings(total_steps=6, checkpoint_steps=2)
    first.run()
    resumed = _Running()
    _loop(tmp_path / "cut", 9, resumed).run(checkpoint.newest(tmp_path / "cut" / "checkpoints" / "toy"))
    assert whole.value.tobytes() == resumed.value.tobytes() and whole.value.any()


class _Scaler:
    """Replaces Paddle's scaler, which needs a GPU: its scale is halved when a step overflows."""

    def __init__(self, overflows: list[bool]) -> None:
        self.overflows, self.scale_now = iter(overflows), 8.0

    def is_enable(self) -> bool:
        return True

    def state_dict(self) -> dict:
        return {"scale": np.array([self.scale_now])}

    def step(self, optimizer) -> None:
        self.overflow = next(self.overflows)

    def update(self) -> None:
        self.scale_now *= 0.5 if self.overflow else 1.0


def test_skipped_float16_steps_are_counted():
    precision = Precision()
    precision.scaler = _Scaler([False, True, True, False])
    for _ in range(4):
        precision.update(None)
    assert precision.skipped == 2 and precision.state()["skipped"] == 2


def test_mixed_precision_on_the_cpu_is_refused():
    with pytest.raises(UserError, match="on the CPU"):
        Precision("O1", "float16", "cpu")
