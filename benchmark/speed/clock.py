"""How training steps are timed, and how modes are compared.

Each mode has its own process, because Paddle reads threads, allocator and flags at import. Modes alternate, every second
round in reverse order, so that changes in the machine's speed affect all of them; values are medians over rounds, ratios medians of
the ratios in each round. The environment is passed on without variables that set threads, allocator or flags.

Steps: with bucketing, batches differ in width by up to a factor of ten, so the first few are not representative of an epoch. The epoch's
steps are sorted by width and split into as many groups as there are timed steps; the step closest to the mean of each group is used. All
modes time the same steps, if they have them, in random order. A warm-up step is not counted: the widest one; in modes that
pad to the maximum, where a step takes many seconds, its first 8 rows.

"of the product rate": floating-point operations per second of the matrix products in a step (2 for a multiplication and an addition,
including padding; the backward pass of student and projection counts twice the forward pass), relative to those of a product of 2048 x 768
by 768 x 3072 in the same process, the median of nine before and nine after the steps.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.speed.encoders import optimizer_of, peak_mb, train_rows_of, update
from benchmark.speed.ladder import environment

UNCOUNTED_ROWS = 8


def representative(widths: Sequence[int], count: int) -> list[int]:
    """Indices of `count` steps that represent steps with these widths: groups of similar width, from each the step closest to its mean."""
    import numpy as np

    widths = np.asarray(widths)
    groups = np.array_split(np.argsort(widths, kind="stable"), min(count, len(widths)))
    return [int(group[np.abs(widths[group] - widths[group].mean()).argmin()]) for group in groups]


def chosen_steps(batches, count: int) -> list[int]:
    """Representative steps of a run's first epoch in a random order that only depends on the run's seed."""
    widths = [batches.step(0, index)[0].input_ids.shape[1] for index in range(batches.steps_per_epoch)]
    steps = representative(widths, count)
    random.Random(batches.seed).shuffle(steps)
    return steps


def train(
    features: frozenset, batches, teacher_model, student, objective, steps: list[int], projection=None, end_step=lambda: None, used=None
) -> dict:
    """Time whole training steps including the optimizer; samples and tokens (without padding) per second, product rate, peak memory.

    used: the tokens of all texts; in a mode with "rows of the texts", only these rows of the student's embedding are trained.
    """
    import paddle

    from tinybert import runtime
    from tinybert.models.trace import Inputs, Needs, layers_of, trace
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer

    layer = TrainedLayer(student, objective)
    if used is not None and "rows of the texts" in features:
        train_rows_of(layer, used)
    teacher = Teacher(teacher_model, objective.needs_teacher, "eval" if "teacher without dropout" in features else "train")
    widest = max((batches.step(0, step)[0] for step in steps), key=lambda batch: batch.input_ids.shape[1])
    two = _first_rows(Inputs.of(widest), 2)
    layer.freeze_unreached(two, teacher(two))
    needs = objective.needs_student
    if "only what is needed" not in features:  # everything that the published models return: hidden states, scores, logits
        teacher.needs, needs = (
            Needs(frozenset(range(n + 1)), frozenset(range(n)), pooled=True, logits=True)
            for n in (len(layers_of(teacher_model)), len(layers_of(student)))
        )
    optimizer = optimizer_of(layer)
    layer.train()

    def step(inputs) -> None:
        update(objective(trace(student, inputs, needs), teacher(inputs), inputs)["loss"], optimizer, end_step)

    products = product_seconds(paddle)
    step(Inputs.of(widest) if "longest row" in features else _first_rows(Inputs.of(widest), UNCOUNTED_ROWS))
    rows, tokens, seconds, made = 0, 0, 0.0, 0.0
    for index in steps:
        started = time.perf_counter()
        batch = batches.step(0, index)[0]
        step(Inputs.of(batch))
        seconds += time.perf_counter() - started
        rows, tokens = rows + len(batch.rows), tokens + int(batch.attention_mask.sum())
        made += operations(teacher_model, *batch.input_ids.shape) + 3 * operations(student, *batch.input_ids.shape)
        made += 3 * projecting(projection, len(objective.needs_student.hidden), *batch.input_ids.shape)
    products += product_seconds(paddle)
    return {
        "samples": rows / seconds,
        "tokens": tokens / seconds,
        "of_product_rate": made / seconds / (2.0 * 2048 * 768 * 3072 / statistics.median(products)),
        "gflops": made / seconds / 1e9,
        "peak_mb": peak_mb(),
        "steps": steps,
        "threads": runtime.threads(),
        "load": os.getloadavg()[0],
        "versions": runtime.versions(),
    }


def _first_rows(inputs, count: int):
    from tinybert.models.trace import Inputs

    labels = None if inputs.labels is None else inputs.labels[:count]
    return Inputs(inputs.input_ids[:count], inputs.token_type_ids[:count], inputs.attention_mask[:count], labels)


def in_turn(script: str, runs: Mapping[str, list[str]], repeats: int, record: Path | None = None) -> dict[str, list[dict]]:
    """The JSON printed last by each run of a script, `repeats` times, alternating; `runs` gives the additional arguments of each.

    record: a file to which a line with name and round is appended for every process.
    """
    found: dict[str, list[dict]] = {name: [] for name in runs}
    for round_ in range(repeats):
        for name, more in reversed(runs.items()) if round_ % 2 else runs.items():
            command = [sys.executable, script, *sys.argv[1:], *more]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
            found[name].append(json.loads(output.stdout.splitlines()[-1]))
            if record is not None:
                with open(record, "a", encoding="utf-8") as file:
                    file.write(json.dumps({"run": name, "round": round_, "arguments": more, **found[name][-1]}) + "\n")
    return found


def ratio(figures: Sequence[float], base: Sequence[float]) -> float:
    """The median over rounds of a mode's value relative to the baseline's in the same round."""
    return statistics.median(one / other for one, other in zip(figures, base, strict=True))


def table(what: str, found: Mapping[str, list[dict]]) -> str:
    """Medians and ranges as a Markdown table, relative to the first run."""
    from tinybert.report.table import markdown_table

    base = [result["samples"] for result in next(iter(found.values()))]
    lines = []
    for name, results in found.items():
        samples = [result["samples"] for result in results]
        lines.append(
            [
                name,
                f"{statistics.median(samples):.1f}",
                f"{min(samples):.1f} to {max(samples):.1f}",
                f"{ratio(samples, base):.2f} x",
                f"{statistics.median(result['tokens'] for result in results):.0f}",
                f"{statistics.median(result['of_product_rate'] for result in results):.2f}",
                f"{statistics.median(result['gflops'] for result in results):.0f}",
                f"{statistics.median(result['peak_mb'] for result in results):.0f} MB",
            ]
        )
    header = [what, "samples/s", "range", "against the first", "real tokens/s", "of the product rate", "10⁹ operations/s", "peak memory"]
    return markdown_table(header, lines)


def operations(model, rows: int, width: int) -> float:
    """Floating-point operations of one forward pass of an encoder over `[rows, width]` tokens; only matrix products."""
    from tinybert.models.trace import base_of

    shape = base_of(model).config
    d, f, layers = shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers
    return 2.0 * layers * rows * width * (4 * d * d + 2 * d * f + 2 * width * d)


def projecting(projection, entries: int, rows: int, width: int) -> float:
    """Operations of projecting `entries` entries of `[rows, width]` tokens once; 0 without a projection."""
    return 0.0 if projection is None else 2.0 * entries * rows * width * projection.width[0] * projection.width[1]


def product_seconds(paddle) -> list[float]:
    """Seconds of nine float32 matrix products of 2048 x 768 by 768 x 3072, after a warm-up."""
    a, b = paddle.randn([2048, 768]), paddle.randn([768, 3072])
    paddle.matmul(a, b)
    times = []
    for _ in range(9):
        started = time.perf_counter()
        paddle.matmul(a, b)
        times.append(time.perf_counter() - started)
    return times
