"""Communication between the processes of one run."""

from __future__ import annotations

import numpy as np
import paddle

from tinybert import runtime


def sum_over_ranks(values: np.ndarray) -> np.ndarray:
    """The elementwise sum over all processes, float64 in and out; unchanged when there is one."""
    if runtime.world_size() == 1:
        return values
    tensor = paddle.to_tensor(np.asarray(values, np.float64))
    paddle.distributed.all_reduce(tensor)
    return tensor.numpy()


def sum_dict(values: dict[str, float]) -> dict[str, float]:
    """Each value summed over all processes, which must hold the same names."""
    if runtime.world_size() == 1:
        return values
    names = sorted(values)  # the same order on every rank
    total = dict(zip(names, sum_over_ranks(np.array([values[name] for name in names])).tolist(), strict=True))
    return {name: total[name] for name in values}


def wait_for_all() -> None:
    """A barrier: files written by rank 0 before it can be read after it."""
    if runtime.world_size() > 1:
        paddle.distributed.barrier()
