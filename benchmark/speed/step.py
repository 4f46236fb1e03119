"""Speed of task distillation: samples per second and peak memory of both stages, compared with the project's own "as published" mode.

Protocol: a 12 x 768 teacher (BERT-base's shape) and a student; rows of the real training set, 32 per step; whole training steps including
the optimizer; modes of `ladder.py`, timed as in `clock.py`. "As published" is the project's own code with everything that the published
scripts do: padded to the maximum, teacher with dropout, all hidden states and scores kept, Paddle as installed. Losses and optimizer are
the same in all modes.

Mode `EMD`: BERT-EMD's single stage with all features; the solver's share of a step is printed below the table.

    python benchmark/speed/step.py --data ~/data --modes "as published,all"                      # both sets, students and stages
    python benchmark/speed/step.py --data ~/data --students 4x312 --stages intermediate --modes ladder
    python benchmark/speed/step.py --data ~/data --students 4x312 --stages intermediate --modes without
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

from benchmark.speed import encoders
from benchmark.speed.clock import chosen_steps, in_turn, table, train
from benchmark.speed.ladder import BEST, LADDER, WITHOUT, prepare

EMD = "EMD"
MODES = {"ladder": LADDER, "without": (BEST, *WITHOUT)}  # shorthands for several


def measure(options) -> dict:
    """In a separate process: prepare Paddle for the mode, train some steps, report."""
    features = prepare(BEST if options.mode == EMD else options.mode)
    import paddle

    from tinybert.data.batches import Batches
    from tinybert.data.tasks import get_task
    from tinybert.kinds.registry import DEFAULT
    from tinybert.objectives import layer_weights
    from tinybert.objectives.emd import emd_objective
    from tinybert.objectives.layer_weights import LayerWeights
    from tinybert.objectives.tinybert import prediction_objective

    paddle.seed(options.seed)
    task, shape = get_task(options.task), encoders.STUDENTS[options.student]
    store = encoders.training_rows(options.task, options.data)
    padded = "longest row" not in features
    pad_to = encoders.longest(task) if padded else None
    batches = Batches(store, options.batch_size, seed=options.seed, pad_to=pad_to, bucket="by length" in features)
    steps = list(range(options.padded_steps)) if padded else chosen_steps(batches, options.steps)

    outputs = max(1, len(task.labels))
    teacher, student, objective, projection = encoders.first_stage(shape, encoders.TEACHER, outputs)
    weights, solving = None, []
    if options.mode == EMD:
        layer_weights.solver()  # its import is not part of a step
        layer_weights.transport_flow = clocked(layer_weights.transport_flow, solving)
        depths = shape["num_hidden_layers"], encoders.TEACHER["num_hidden_layers"]
        weights = LayerWeights(*depths)
        objective = emd_objective(depths, weights, projection, DEFAULT)
    elif options.stage == "prediction":
        objective, projection = prediction_objective(DEFAULT), None
    end_step = weights.end_step if weights is not None else lambda: None
    figures = train(features, batches, teacher, student, objective, steps, projection, end_step, store.word_pieces())
    solver = sum(solving) / (len(steps) + 1) / (options.batch_size / figures["samples"])
    return {**figures, "data_sha256": store.meta["source_sha256"], "solver": solver}


def clocked(function: Callable, seconds: list[float]) -> Callable:
    """A wrapper of the function that appends the seconds of each call."""

    def timed(*arguments):
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds.append(time.perf_counter() - started)

    return timed


def modes_of(text: str) -> list[str]:
    """The modes in a list of names and shorthands; raises ValueError for one that does not exist."""
    modes = [mode for word in text.split(",") for mode in MODES.get(word, (word,))]
    if unknown := [mode for mode in modes if mode not in (*LADDER, *WITHOUT, EMD)]:
        raise ValueError(f"unknown modes: {', '.join(unknown)}; there are: ladder, without, {', '.join((*LADDER, *WITHOUT, EMD))}")
    return modes


def main() -> None:
    """Run the modes alternately and print one table for each data set, student and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--tasks", default="SST-2,MRPC")
    parser.add_argument("--students", default="4x312,6x768", help=f"of: {', '.join(encoders.STUDENTS)}")
    parser.add_argument("--stages", default="intermediate,prediction")
    parser.add_argument("--modes", default=f"{LADDER[0]},{BEST}", help=f"of: ladder, without, {', '.join((*LADDER, *WITHOUT, EMD))}")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of a process")
    parser.add_argument("--padded_steps", type=int, default=2, help="counted steps in modes that pad to the maximum: all are alike")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--record", type=Path, help="append what every process reported to this file, a JSON object a line")
    for hidden in ("--mode", "--task", "--student", "--stage"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    try:
        modes = modes_of(options.modes)
    except ValueError as error:
        parser.error(str(error))
    for task in options.tasks.split(","):
        encoders.training_rows(task, options.data)  # tokenised before timing starts
        for student in options.students.split(","):
            for stage in options.stages.split(","):
                cell = ["--task", task, "--student", student, "--stage", stage]
                found = in_turn(__file__, {mode: [*cell, "--mode", mode] for mode in modes}, options.repeats, options.record)
                one = found[modes[0]][0]
                print(f"\n{task}, {stage}, student {student}; train.tsv {one['data_sha256'][:16]}, seed {options.seed}, {one['versions']}")
                print(table("mode", found), flush=True)
                if EMD in found:
                    print(f"the solver takes {statistics.median(result['solver'] for result in found[EMD]):.2%} of EMD's step")


if __name__ == "__main__":
    main()
