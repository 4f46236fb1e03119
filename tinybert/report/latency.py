"""Latency of models per sentence, measured side by side in one process."""

from __future__ import annotations

import statistics
import time

import numpy as np
import paddle
from paddle import nn

from tinybert.data.batches import Batch, sequential
from tinybert.data.store import Rows
from tinybert.models.trace import Inputs, Needs, trace

SENTENCES = 100


def sampled(store: Rows) -> list[Batch]:
    """`SENTENCES` rows of a store (or all if it has fewer), evenly spaced from longest to shortest, each as one batch."""
    batches = list(sequential(store, 1))
    return [batches[i] for i in np.linspace(0, len(batches) - 1, min(SENTENCES, len(batches))).astype(int)]


def side_by_side(models: dict[str, nn.Layer], sentences: list[Inputs], rounds: int = 3) -> dict[str, float]:
    """Median milliseconds per sentence for each model, at batch size 1 and the sentence's own length.

    The models alternate on every sentence, so that changes in the machine's speed affect all of them; the first round is discarded.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.eval()
    with paddle.no_grad():
        for round_ in range(rounds + 1):
            for sentence in sentences:
                for name, model in models.items():
                    started = time.perf_counter()
                    trace(model, sentence, Needs(logits=True)).logits.numpy()
                    if round_:
                        seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}
