"""The ladder from training "as published" to training as it is here: what each rung sets, and the clock that times it.

Every rung runs in a process of its own, because Paddle reads threads, allocator and flags when it loads. Rungs take turns, so that a change
in the machine's speed meets all of them; the first step of a process is not counted; the figures are medians over rounds.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

LADDER = ("as published", "traced as needed", "batches by length", "flags", "allocator", "MKL path", "own operations", "threads")


def prepare(mode: str) -> int:
    """Set flags, allocator and threads as a rung says, and import Paddle; returns the rung's number."""
    from tinybert import runtime

    rung = LADDER.index(mode)
    os.environ["TINYBERT_CPU_OPS"] = "1" if rung >= LADDER.index("own operations") else "0"
    if rung < LADDER.index("flags"):
        runtime.prepare(as_installed=True)
    else:
        os.environ["TINYBERT_KEEP_MEMORY"] = "1" if rung >= LADDER.index("allocator") else "0"
        if rung < LADDER.index("MKL path"):
            os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "0")
        runtime.prepare(threads=None if rung >= LADDER.index("threads") else 1)
    return rung


def train(rung: int, batches, teacher_model, student, objective, steps: int, end_step: Callable[[], None] = lambda: None) -> dict:
    """Time `steps` whole training steps, the optimizer's included; samples and real tokens a second, share of the product rate, peak."""
    import paddle

    from tinybert import runtime
    from tinybert.engine.optimizers import create_optimizer
    from tinybert.models.trace import Needs, layers_of, trace
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer
    from tinybert.recipes.task_data import tensors

    layer = TrainedLayer(student, objective)
    teacher = Teacher(teacher_model, objective.needs_teacher, "eval" if rung else "train")
    first = tensors(batches.step(0, 0)[0])
    layer.freeze_unreached(first, teacher(first))
    if not rung:
        teacher.needs = Needs.everything(len(layers_of(teacher_model)))
    needs = objective.needs_student if rung else Needs.everything(len(layers_of(student)))
    optimizer = create_optimizer(layer, "adamw", weight_decay=0.01, epsilon=1e-6, max_grad_norm=1.0, grad_clip="global")
    layer.train()
    rows, tokens, seconds, made = 0, 0, 0.0, 0.0
    for step in range(steps + 1):
        started = time.perf_counter()
        batch = batches.step(0, step)[0]
        inputs = tensors(batch)
        parts = objective(trace(student, inputs, needs), teacher(inputs), inputs)
        parts["loss"].backward()
        float(parts["loss"])
        optimizer.set_lr(1e-5)
        optimizer.step()
        optimizer.clear_grad()
        end_step()
        if step:
            seconds += time.perf_counter() - started
            rows, tokens = rows + len(batch.rows), tokens + int(batch.attention_mask.sum())
            made += operations(teacher_model, *batch.input_ids.shape) + 3 * operations(student, *batch.input_ids.shape)
    return {
        "samples": rows / seconds,
        "tokens": tokens / seconds,
        "of_product_rate": made / seconds / product_rate(paddle),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": runtime.threads(),
        "versions": runtime.versions(),
    }


def in_turn(script: str, runs: Mapping[str, list[str]], repeats: int) -> dict[str, list[dict]]:
    """The JSON that each run of a script prints last, `repeats` times in turn; `runs` gives each one's additional arguments."""
    found: dict[str, list[dict]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, more in runs.items():
            command = [sys.executable, script, *sys.argv[1:], *more]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
            found[name].append(json.loads(output.stdout.splitlines()[-1]))
    return found


def table(what: str, found: Mapping[str, list[dict]]) -> str:
    """Medians and ranges as Markdown, against the first run."""
    from tinybert.report.table import markdown_table

    lines, base = [], None
    for name, results in found.items():
        samples = [result["samples"] for result in results]
        base = base or statistics.median(samples)
        lines.append(
            [
                name,
                f"{statistics.median(samples):.1f}",
                f"{min(samples):.1f} to {max(samples):.1f}",
                f"{statistics.median(samples) / base:.2f} x",
                f"{statistics.median(result['tokens'] for result in results):.0f}",
                f"{statistics.median(result['of_product_rate'] for result in results):.2f}",
                f"{statistics.median(result['peak_mb'] for result in results):.0f} MB",
            ]
        )
    header = [what, "samples/s", "range", "against the first", "real tokens/s", "of the product rate", "peak memory"]
    return markdown_table(header, lines)


def operations(model, rows: int, width: int) -> float:
    """Floating-point operations of one forward pass of an encoder over `[rows, width]` tokens; matrix products alone."""
    from tinybert.models.trace import base_of

    shape = base_of(model).config
    d, f, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    return 2.0 * layers * rows * width * (4 * d * d + 2 * d * f + 2 * width * d)


def product_rate(paddle) -> float:
    """Operations a second of a float32 matrix product, 2048 x 768 by 768 x 3072: the median of nine."""
    a, b = paddle.randn([2048, 768]), paddle.randn([768, 3072])
    times = []
    for _ in range(9):
        started = time.perf_counter()
        paddle.matmul(a, b)
        times.append(time.perf_counter() - started)
    return 2.0 * 2048 * 768 * 3072 / statistics.median(times)


def environment() -> dict[str, str]:
    """This environment without what the modes decide about."""
    decided = ("OMP_NUM_THREADS", "FLAGS_use_stride_kernel", "MKL_DEBUG_CPU_TYPE", "TINYBERT_KEEP_MEMORY", "TINYBERT_CPU_OPS")
    return {name: value for name, value in os.environ.items() if name not in decided}
