"""Our CPU operations compared with Paddle's, on the tensors of one layer.

Protocol: one process; tensors with `--rows` rows of `--width` tokens, `--hidden` wide with 12 heads; each operation forward and backward,
alternating between ours and Paddle's, `--repeats` times; medians. The last line is an encoder with three such layers, with and without all
of them.

    python benchmark/speed/cpu_ops.py --threads 1
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

HEADS = 12


def in_turn(ours: Callable[[], None], theirs: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median milliseconds of both, alternating; the first round is discarded."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for round_ in range(repeats + 1):
        for function, times in zip((ours, theirs), seconds, strict=True):
            started = time.perf_counter()
            function()
            if round_:
                times.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds[0]), 1000 * statistics.median(seconds[1])


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--width", type=int, default=53, help="tokens a row: 53 is MRPC's mean")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    from tinybert import runtime

    runtime.prepare(threads=options.threads)
    import paddle
    import paddle.nn.functional as F
    from paddle import nn

    from tinybert.models import cpu_ops
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.trace import Inputs, Needs, trace
    from tinybert.report.table import markdown_table

    rows, width, hidden = options.rows, options.width, options.hidden
    paddle.seed(42)
    x, scores = paddle.randn([rows, width, hidden]), paddle.randn([rows, HEADS, width, width])
    pull, pull_scores = paddle.randn(x.shape), paddle.randn(scores.shape)
    mask = paddle.zeros([rows, 1, 1, width])
    expand_contiguous = cpu_ops.expand_contiguous(mask, scores.shape)
    x.stop_gradient = scores.stop_gradient = False
    norm, dense, pull_wide = nn.LayerNorm(hidden), nn.Linear(hidden, 4 * hidden), paddle.randn([rows, width, 4 * hidden])

    def learns_nothing(function: Callable) -> None:
        with paddle.no_grad():
            function(dense, x)

    pairs = {
        "dropout of the attention weights": (
            lambda: cpu_ops.dropout(scores, 0.1, True).backward(pull_scores),
            lambda: F.dropout(scores, 0.1, training=True).backward(pull_scores),
        ),
        "dropout of the hidden states": (
            lambda: cpu_ops.dropout(x, 0.1, True).backward(pull),
            lambda: F.dropout(x, 0.1, training=True).backward(pull),
        ),
        "layer normalisation": (lambda: cpu_ops.normalise(norm, x).backward(pull), lambda: norm(x).backward(pull)),
        "linear layer to four times the width": (
            lambda: cpu_ops.linear(dense, x).backward(pull_wide),
            lambda: dense(x).backward(pull_wide),
        ),
        "the same forward, as in a teacher": (lambda: learns_nothing(cpu_ops.linear), lambda: learns_nothing(nn.Linear.__call__)),
        "adding the mask": (lambda: (scores + expand_contiguous).backward(pull_scores), lambda: (scores + mask).backward(pull_scores)),
    }
    shape = {"hidden_size": hidden, "num_hidden_layers": 3, "num_attention_heads": HEADS, "intermediate_size": 4 * hidden}
    model = build(family("bert"), {**shape, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2}, 2, "benchmark")
    model.train()
    ids = paddle.randint(1000, 30000, [rows, width])
    inputs = Inputs(ids, paddle.zeros_like(ids), paddle.ones([rows, width]))

    def step(ours: str) -> None:
        os.environ["TINYBERT_CPU_OPS"] = ours
        trace(model, inputs, Needs(logits=True)).logits.sum().backward()
        model.clear_gradients()
        os.environ["TINYBERT_CPU_OPS"] = "1"

    pairs["three layers, forward and backward"] = (lambda: step("1"), lambda: step("0"))
    lines = []
    for name, (ours, theirs) in pairs.items():
        mine, paddles = in_turn(ours, theirs, options.repeats)
        lines.append([name, f"{paddles:.1f} ms", f"{mine:.1f} ms", f"{paddles / mine:.1f} x"])
    print(f"{rows} x {width} tokens, {hidden} wide, {runtime.threads()} threads, seed 42, {runtime.versions()}")
    print(markdown_table(["forward and backward", "Paddle's", "ours", "ratio"], lines))


if __name__ == "__main__":
    main()
