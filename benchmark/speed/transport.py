"""What the transport of `--method emd` costs, against the S x N mean squared errors that it stands for.

Protocol: random traces of a 4 x 312 student and a 12 x 768 teacher with 12 heads, in one thread; each loss four times forward and
backward, the median. `written out` is sum_ij F_ij * MSE(a_i, b_j) on the same vectors, differentiated by Paddle.

    python benchmark/speed/transport.py --rows 16 --width 64
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

LAYERS, WIDTHS, HEADS = (4, 12), (312, 768), 12


def main() -> None:
    """Print milliseconds per loss, for rows of full length and for rows of which half is padding."""
    from tinybert import runtime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    runtime.prepare(threads=1)
    import numpy as np
    import paddle

    from tinybert.models.projections import Projection
    from tinybert.models.trace import EncoderTrace, Inputs
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

    def seconds(compute) -> float:
        times = []
        for _ in range(4):
            student = trace(0)
            started = time.perf_counter()
            compute(student).backward()
            times.append(time.perf_counter() - started)
        return float(np.median(times))

    teacher = trace(1)
    for name, lengths in (("full rows", np.full(rows, width)), ("half padding", np.linspace(1, width, rows).astype(int))):
        mask = paddle.to_tensor((np.arange(width) < lengths[:, None]).astype("float32"))
        zeros = paddle.zeros([rows, width], dtype="int64")
        inputs = Inputs(zeros, zeros, mask)
        weights = LayerWeights(*LAYERS)
        for loss in (
            AttentionTransportLoss(LAYERS, weights),
            HiddenTransportLoss(LAYERS, weights, Projection("shared", LAYERS[0], *WIDTHS)),
        ):

            def written_out(student, loss=loss, inputs=inputs):
                ours, theirs, count = loss._compared(student, teacher, inputs)
                return sum(((a - b) ** 2).sum() / count / LAYERS[1] for a in ours for b in theirs)

            def transport(student, loss=loss, inputs=inputs):
                return loss(student, teacher, inputs)

            ms = [1000 * seconds(compute) for compute in (transport, written_out)]
            print(f"{name:12} {loss.kind}: transport {ms[0]:.0f} ms, written out {ms[1]:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
