"""Learning rates as functions of the step, so that resuming needs no scheduler state."""

from __future__ import annotations

from collections.abc import Callable


def factor(kind: str, step: int, total: int, warmup: float) -> float:
    """The factor on the learning rate before update number `step` (from 0) of `total`.

    constant: always 1. linear: step / warmup while step < warmup, then down to 0 at `total`; so the very first update has rate 0 when
    there is warm-up, as in the published scripts (BertAdam's warmup_linear, PaddleNLP's LinearDecayWithWarmup).
    warmup is in steps and may be fractional (a proportion of the total).
    """
    if kind == "constant":
        return 1.0
    if step < warmup:
        return step / warmup
    return max(0.0, (total - step) / max(1e-12, total - warmup))


def schedule(kind: str, peak: float, total: int, warmup: float) -> Callable[[int], float]:
    """The learning rate by step; see `factor`."""
    return lambda step: peak * factor(kind, step, total, warmup)
