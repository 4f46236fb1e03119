"""The time of a training step by kind of operation, and whether a static graph would be faster.

Protocol: encoders, rows and losses of `step.py`'s first stage with all features, with one thread and with all. `--steps` representative
steps (`clock.py`) run with Paddle's profiler, after a warm-up of the widest one without it; the times of kernels are summed by kind.
The rest of a step is Python, NumPy's random bits and Paddle's own dispatching. The profiler itself adds a little to each step.

Static graphs: one batch of the steps' median width through encoders without dropout: the teacher's forward pass, the student's forward and
backward pass, as in PaddleNLP, through `paddle.jit.to_static`, and as traced here; alternating, `--repeats` times, medians. Results
and gradients are compared first (in evaluation mode a static graph has no gradients, and looks fast).

    python benchmark/speed/profile.py --data ~/data --task SST-2 --student 4x312
"""

from __future__ import annotations

import argparse
import collections
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed import encoders
from benchmark.speed.clock import chosen_steps, in_turn
from benchmark.speed.ladder import BEST, prepare

KINDS = {
    "matrix products": ("matmul", "addmm", "bmm", "linear"),
    "gelu, tanh, relu": ("gelu", "tanh", "relu"),
    "softmax": ("softmax",),
    "layer normalisation": ("layer_norm",),
    "embedding": ("embedding",),
    "optimizer": ("adam", "squared_l2_norm"),
    "copies: transpose, reshape, expand, cast, gather": (
        "transpose", "reshape", "contiguous", "expand", "cast", "gather", "concat", "slice", "split", "stack", "assign", "unsqueeze",
    ),
    "sums": ("sum", "mean", "reduce", "add_n"),
    "element by element": ("add", "subtract", "multiply", "divide", "scale", "where", "rsqrt", "sqrt", "full", "pow", "square", "maximum"),
}  # fmt: skip


def kind_of(kernel: str) -> str:
    """The kind of a kernel by its name prefix; `other` if none matches."""
    return next((kind for kind, names in KINDS.items() if kernel.startswith(names)), "other")


def by_kind(events: list[dict]) -> dict[str, float]:
    """Milliseconds by kind of the kernels among a profiler's events."""
    found: collections.Counter = collections.Counter()
    for event in events:
        if event.get("cat") == "DygraphKernelLaunch":
            found[kind_of(event["name"].split(" kernel launch")[0])] += event["dur"] / 1000
    return dict(found)


def measure(options) -> dict:
    """In a separate process: profile some steps, time static graphs, report milliseconds per step."""
    prepare("+ own operations" if options.mode == "one thread" else BEST)
    import paddle
    from paddle import profiler

    from tinybert import runtime
    from tinybert.data.batches import Batches
    from tinybert.data.tasks import get_task
    from tinybert.models.trace import Inputs
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer

    paddle.seed(options.seed)
    task, shape = get_task(options.task), encoders.STUDENTS[options.student]
    store, outputs = encoders.training_rows(options.task, options.data), max(1, len(task.labels))
    batches = Batches(store, options.batch_size, seed=options.seed)
    teacher_model, student, objective, _ = encoders.first_stage(shape, encoders.TEACHER, outputs)
    layer, teacher = TrainedLayer(student, objective), Teacher(teacher_model, objective.needs_teacher)
    encoders.train_rows_of(layer, store.word_pieces())
    steps = sorted(chosen_steps(batches, options.steps), key=lambda step: batches.step(0, step)[0].input_ids.shape[1])
    widest, middle = (Inputs.of(batches.step(0, step)[0]) for step in (steps[-1], steps[len(steps) // 2]))
    layer.freeze_unreached(middle, teacher(middle))
    layer.train()
    optimizer = encoders.optimizer_of(layer)
    encoders.update(layer(widest, teacher(widest))["loss"], optimizer)
    with tempfile.TemporaryDirectory() as folder:
        trace = f"{folder}/trace.json"
        with profiler.Profiler(targets=[profiler.ProfilerTarget.CPU], on_trace_ready=lambda p: p.export(trace, "json")):
            started = time.perf_counter()
            for step in steps:
                inputs = Inputs.of(batches.step(0, step)[0])
                encoders.update(layer(inputs, teacher(inputs))["loss"], optimizer)
            whole = 1000 * (time.perf_counter() - started)
        kinds = by_kind(json.loads(Path(trace).read_text())["traceEvents"])
    kinds["Python, random bits and dispatching"] = whole - sum(kinds.values())
    return {
        "kinds": {kind: value / len(steps) for kind, value in kinds.items()},
        "static": static(shape, middle, options.repeats),
        "width": middle.input_ids.shape[1],
        "threads": runtime.threads(),
        "versions": runtime.versions(),
    }


def static(student: dict, inputs, repeats: int) -> dict[str, list[float]]:
    """Median milliseconds of the teacher's forward pass and the student's with backward: PaddleNLP's, with `to_static`, traced here."""
    import paddle
    import paddle.jit

    from tinybert.models.trace import Needs, base_of, trace

    found, plain = {}, {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    ways_to_run = ("teacher, forward", "bert", encoders.TEACHER, False), ("student, forward and backward", "tinybert", student, True)
    for name, kind, shape, learns in ways_to_run:
        model = encoders.encoder(kind, {**shape, **plain}, 2)
        model.train()
        base, last = base_of(model), model.config["num_hidden_layers"]
        eager = type(base).forward.__get__(base)
        graph = paddle.jit.to_static(base, full_graph=True)
        ways = (
            lambda eager=eager: eager(inputs.input_ids, inputs.token_type_ids)[0],
            lambda graph=graph: graph(inputs.input_ids, inputs.token_type_ids)[0],
            lambda model=model, last=last: trace(model, inputs, Needs(hidden=frozenset({last}))).hidden[last],
        )
        real = inputs.attention_mask.unsqueeze(-1)
        pull = paddle.randn([*inputs.input_ids.shape, base.config.hidden_size]) * real
        weight = base.encoder.layers[0].linear1.weight

        def run(way, learns=learns, base=base, pull=pull, weight=weight, real=real):
            with paddle.set_grad_enabled(learns):
                hidden = way()
                if not learns:
                    return [hidden * real]
                hidden.backward(pull)
                gradient = weight.grad.clone()
                base.clear_gradients()
            return [hidden * real, gradient]

        first, *others = (run(way) for way in ways)
        difference = max(float((one - other).abs().max()) for each in others for one, other in zip(first, each, strict=True))
        if difference > 1e-3:
            raise SystemExit(f"{name}: results differ by {difference}: nothing is timed")
        times: list[list[float]] = [[] for _ in ways]
        for _ in range(repeats):
            for way, seconds in zip(ways, times, strict=True):
                started = time.perf_counter()
                run(way)
                seconds.append(time.perf_counter() - started)
        found[name] = [1000 * statistics.median(seconds) for seconds in times]
    return found


def main() -> None:
    """Profile with one thread and with all, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--student", choices=encoders.STUDENTS, default="4x312")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=9, help="of the static graphs")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    from tinybert.report.table import markdown_table

    encoders.training_rows(options.task, options.data)  # tokenised before timing starts
    modes = {mode: ["--mode", mode] for mode in ("one thread", "all threads")}
    found = {mode: runs[0] for mode, runs in in_turn(__file__, modes, 1).items()}
    one, several = found.values()
    print(
        f"{options.task}, student {options.student}, {options.steps} steps of {options.batch_size}, seed {options.seed}, {one['versions']}"
    )
    totals = [sum(each["kinds"].values()) for each in (one, several)]
    lines = []
    for kind in sorted(one["kinds"], key=one["kinds"].get, reverse=True):
        values = [each["kinds"].get(kind, 0.0) for each in (one, several)]
        lines.append([kind, *(f"{value:.1f} ms ({value / total:.0%})" for value, total in zip(values, totals, strict=True))])
    lines.append(["whole step", *(f"{total:.1f} ms" for total in totals)])
    print(markdown_table(["a step", "one thread", f"{several['threads']} threads"], lines))
    lines = [
        [name, mode, *(f"{milliseconds:.1f} ms" for milliseconds in result["static"][name])]
        for mode, result in found.items()
        for name in result["static"]
    ]
    print(markdown_table([f"{options.batch_size} x {one['width']} tokens", "", "PaddleNLP's", "to_static", "traced here"], lines))


if __name__ == "__main__":
    main()
