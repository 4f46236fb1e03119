"""The clock of task distillation: samples a second and peak memory of a stage, against the project's own "as published" mode.

Protocol: a 12 x 768 teacher (BERT-base's shape) and a student, both with random weights (speed does not depend on their values);
rows of the real training set in the order of a run, 32 a step; whole training steps, the optimizer's included. Every mode runs in a
process of its own, because Paddle reads threads, allocator and flags when it loads; modes take turns for `--repeats` rounds, so that a
change in the machine's speed meets all of them; the first step of a process is not counted; the figure is the median over rounds. Each
step of the ladder adds one change to the one above it:

* as published: padded to the maximum, teacher with dropout and traced in full (every hidden state, score and head), the student too; Paddle
  as it is installed.
* traced as needed: the teacher without dropout; both encoders run no further and keep no more than the losses need.
* batches by length: rows of like length share a step, which is padded to its longest row.
* flags: `FLAGS_use_stride_kernel=0`; allocator: glibc keeps its memory; MKL path: only on processors that are not Intel's.
* own operations: dropout, layer normalisation and the mask, see `tinybert/models/cpu_ops.py`.
* threads: all cores of the machine in place of one.

Mode `EMD`, which is no rung: BERT-EMD's one stage with all the rungs; its solver's part of a step is printed below the table.

"of the product rate": floating-point operations of the matrix products in a step (2 per multiplication and addition, padding included; the
backward pass counts twice the student's forward), per second, over the rate of one product of 2048 x 768 by 768 x 3072 in the same process.

    python benchmark/speed/step.py --data ~/data --task SST-2 --student 4x312 --stage intermediate
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.ladder import LADDER, in_turn, prepare, table, train  # noqa: E402

STUDENTS = {
    "4x312": {"num_hidden_layers": 4, "hidden_size": 312, "num_attention_heads": 12, "intermediate_size": 1200},
    "6x768": {"num_hidden_layers": 6, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
TEACHER = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
EXTRA = ("EMD",)  # BERT-EMD's one stage in the best mode: not a rung


def measure(options) -> dict:
    """In a process of its own: prepare Paddle as the mode says, train some steps, report."""
    rung = prepare(LADDER[-1] if options.mode in EXTRA else options.mode)
    import paddle

    from tinybert.data.batches import Batches
    from tinybert.data.store import TokenStore
    from tinybert.data.tasks import get_task
    from tinybert.data.tokenizer import WordPiece
    from tinybert.mapping import LayerMap
    from tinybert.models import hub
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.projections import Projection
    from tinybert.objectives import layer_weights
    from tinybert.objectives.emd import emd_objective
    from tinybert.objectives.layer_weights import LayerWeights
    from tinybert.objectives.tinybert import intermediate_objective, prediction_objective

    paddle.seed(options.seed)
    task = get_task(options.task)
    width = 128 if task.is_pair else 64
    tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
    store = TokenStore.build_or_open(task, Path(options.data) / "Glue" / task.name, "train", tokenizer, width)
    by_length = rung >= LADDER.index("batches by length")
    batches = Batches(store, options.batch_size, seed=options.seed, pad_to=None if by_length else width)

    shared = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 512, "type_vocab_size": 2}
    outputs = max(1, len(task.labels))
    teacher_model = build(family("bert"), {**shared, **TEACHER}, outputs, "benchmark")
    shape = STUDENTS[options.student]
    student = build(family("tinybert"), {**shared, **shape}, outputs, "benchmark")
    depths = shape["num_hidden_layers"], TEACHER["num_hidden_layers"]
    projection = Projection("shared", depths[0], shape["hidden_size"], TEACHER["hidden_size"])
    weights, solving = None, []
    if options.mode == "EMD":
        layer_weights.check_solver()  # its import is no part of a step
        layer_weights.transport_flow = clocked(layer_weights.transport_flow, solving)
        weights = LayerWeights(*depths)
        objective = emd_objective(depths, weights, projection, outputs, beta=0.01)
    elif options.stage == "intermediate":
        objective = intermediate_objective(LayerMap.create("uniform", *depths), projection)
    else:
        objective = prediction_objective(outputs)
    end_step = weights.end_step if weights is not None else lambda: None
    figures = train(rung, batches, teacher_model, student, objective, options.steps, end_step)
    solver = sum(solving) / (options.steps + 1) / (options.batch_size / figures["samples"])
    return {**figures, "data_sha256": store.meta["source_sha256"], "solver": solver}


def clocked(function: Callable, seconds: list[float]) -> Callable:
    """The function, each call's seconds noted."""

    def timed(*arguments):
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds.append(time.perf_counter() - started)

    return timed


def main() -> None:
    """Run the modes in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--student", choices=STUDENTS, default="4x312")
    parser.add_argument("--stage", choices=("intermediate", "prediction"), default="intermediate")
    parser.add_argument("--modes", default=",".join(LADDER), help=f"of: {', '.join((*LADDER, *EXTRA))}")
    parser.add_argument("--steps", type=int, default=6, help="counted steps of a process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    modes = options.modes.split(",")
    unknown = [mode for mode in modes if mode not in (*LADDER, *EXTRA)]
    if unknown:
        parser.error(f"unknown modes: {', '.join(unknown)}")
    found = in_turn(__file__, {mode: ["--mode", mode] for mode in modes}, options.repeats)
    one = found[modes[0]][0]
    what = f"{options.task}, {options.stage}, student {options.student}"
    print(f"{what}; train.tsv {one['data_sha256'][:16]}, seed {options.seed}, {one['versions']}")
    print(table("mode", found))
    if "EMD" in found:
        print(f"the solver takes {statistics.median(result['solver'] for result in found['EMD']):.2%} of EMD's step")


if __name__ == "__main__":
    main()
