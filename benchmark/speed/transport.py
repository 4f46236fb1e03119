"""The cost of optimal transport in `--method emd`, compared with whole-vector operations and with TinyBERT's mapped layers.

Protocol: random traces of a 4 x 312 student and a 12 x 768 teacher with 12 heads, with one thread; each loss forward and backward,
alternating, `--repeats` times after a warm-up; CPU milliseconds of the process, medians. "whole vectors" is the same loss with
Paddle's operations (`TINYBERT_CPU_OPS=0`, including the projection's bias); "mapped" is TinyBERT's loss with one teacher layer for each
student layer.

    python benchmark/speed/transport.py --rows 32 --width 53
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

LAYERS, WIDTHS, HEADS = (4, 12), (312, 768), 12


def main() -> None:
    """Print CPU milliseconds of each loss, for full rows and for rows that are half padding."""
    from tinybert import runtime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--width", type=int, default=53, help="tokens a row: 53 is MRPC's mean")
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    runtime.prepare(threads=1)
    import numpy as np
    import paddle
    from paddle import nn

    from tinybert.models.projections import Projection
    from tinybert.models.trace import EncoderTrace, Inputs
    from tinybert.objectives.attention import AttentionScoreLoss
    from tinybert.objectives.hidden import HiddenStateLoss
    from tinybert.objectives.layer_weights import LayerWeights
    from tinybert.objectives.transport import AttentionTransportLoss, HiddenTransportLoss

    rows, width = options.rows, options.width

    def trace(side: int) -> EncoderTrace:
        found = EncoderTrace()
        for i in range(LAYERS[side] + 1):
            found.hidden[i] = paddle.randn([rows, width, WIDTHS[side]])
            found.scores[i] = paddle.randn([rows, HEADS, width, width])
            found.hidden[i].stop_gradient = found.scores[i].stop_gradient = side == 1
        return found

    def milliseconds(loss: nn.Layer, own: str, student: EncoderTrace) -> tuple[float, float]:
        os.environ["TINYBERT_CPU_OPS"] = own
        started = time.process_time()
        value = loss(student, teacher, inputs)
        value.backward()
        return 1000 * (time.process_time() - started), float(value)

    teacher, weights = trace(1), LayerWeights(*LAYERS)
    projection = Projection("shared", LAYERS[0], *WIDTHS)
    zeros = paddle.zeros([rows, width], dtype="int64")
    every = tuple(range(2, LAYERS[1], LAYERS[1] // LAYERS[0]))
    for name, lengths in (("full rows", np.full(rows, width)), ("half padding", np.linspace(1, width, rows).astype(int))):
        mask = paddle.to_tensor((np.arange(width) < lengths[:, None]).astype("float32"))
        inputs = Inputs(zeros, zeros, mask, padded=name != "full rows")
        for transport, mapped in (
            (AttentionTransportLoss(LAYERS, weights), AttentionScoreLoss(tuple(enumerate(every)))),
            (
                HiddenTransportLoss(LAYERS, weights, projection),
                HiddenStateLoss(tuple((i + 1, j + 1) for i, j in enumerate(every)), projection),
            ),
        ):
            ways = {"transport": (transport, "1"), "whole vectors": (transport, "0"), "mapped": (mapped, "1")}
            found: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(options.repeats + 1):
                student, values = trace(0), {}
                for way, (loss, own) in ways.items():
                    spent, values[way] = milliseconds(loss, own, student)
                    found[way].append(spent)
                if not np.isclose(values["transport"], values["whole vectors"], rtol=1e-6):
                    raise SystemExit(f"the two ways differ, {values}: nothing is timed")
            shown = ", ".join(f"{way} {statistics.median(times[1:]):.0f} ms" for way, times in found.items())
            print(f"{name:12} {transport.kind}: {shown}", flush=True)


if __name__ == "__main__":
    main()
