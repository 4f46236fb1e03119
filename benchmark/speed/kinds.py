"""Training speed of token classification and question answering relative to classification, at equal lengths.

Protocol: a 6 x 384 teacher, live, and a 4 x 312 student for each kind, both with random weights; random rows of equal length, the same ids
for all kinds; whole steps of TinyBERT's stages including batching and the optimizer. All kinds make every step one after another in one
process, in an order that rotates; wall time, two threads, after two warm-up steps. Ratios are medians over the steps of a kind's samples
per second divided by classification's in the same step.

    python benchmark/speed/kinds.py
    python benchmark/speed/kinds.py --stages prediction --lengths 128 --steps 60
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.speed import encoders

KINDS = ("classification", "token_classification", "question_answering")
TAGS = 9  # CoNLL-2003
USED_ROWS = 5_000  # of the word embedding, as in a task of some thousand rows
WARM_UP = 2


def rows_of(kind: str, count: int, length: int, seed: int):
    """A token store of random rows with random labels; every second token starts a word."""
    import numpy as np

    from tinybert.data.layout import Flat
    from tinybert.data.store import TokenStore
    from tinybert.data.tagged import TaggedWords

    random = np.random.default_rng(seed)
    ids = random.integers(1000, 1000 + USED_ROWS, (count, length))
    labels = {"classification": random.integers(0, 2, count), "question_answering": random.integers(0, length, (count, 2), np.int32)}
    store = TokenStore.from_arrays(Flat(ids.ravel(), np.full(count, length)), labels=labels.get(kind))
    if kind == "token_classification":
        tags = np.where(np.arange(length) % 2, random.integers(0, TAGS, (count, length)), -1).astype(np.int16)
        words = (tags >= 0).sum(1).astype(np.int32)
        store.words = TaggedWords(tags.ravel(), words, tags[tags >= 0], np.concatenate([[0], np.cumsum(words)]))
    return store


def trained(kind: str, stage: str, used):
    """A function that trains a new student of this kind on one batch."""
    from tinybert.kinds.registry import get_kind
    from tinybert.mapping import LayerMap
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.trace import Inputs
    from tinybert.objectives.tinybert import intermediate_objective, prediction_objective
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer

    outputs, head = {"classification": 2, "token_classification": TAGS, "question_answering": 2}[kind], get_kind(kind).head
    shapes = encoders.SMALL_TEACHER, encoders.STUDENTS["4x312"]
    teacher_model, student = (build(family("bert"), {**encoders.REST, **shape}, outputs, "benchmark", head) for shape in shapes)
    if stage == "intermediate":
        layer_map = LayerMap.create("uniform", 4, 6)
        objective = intermediate_objective(layer_map, encoders.projection(shapes[1], shapes[0]))
    else:
        objective = prediction_objective(get_kind(kind))
    layer = TrainedLayer(student, objective)
    encoders.train_rows_of(layer, used)
    teacher = Teacher(teacher_model, objective.needs_teacher)
    optimizer = None

    def step(batch) -> float:
        nonlocal optimizer
        inputs = Inputs.of(batch)
        if optimizer is None:
            layer.freeze_unreached(inputs, teacher(inputs))
            optimizer = encoders.optimizer_of(layer)
            layer.train()
        return encoders.update(layer(inputs, teacher(inputs))["loss"], optimizer)

    return step


def measure(stage: str, length: int, options) -> list[list[str]]:
    """Lines of the table: every kind trains all steps."""
    import math

    import paddle

    from tinybert.data.batches import Batches

    paddle.seed(options.seed)
    count = options.batch_size * (options.steps + WARM_UP)
    stores = {kind: rows_of(kind, count, length, options.seed) for kind in KINDS}
    batches = {kind: Batches(store, options.batch_size, seed=options.seed) for kind, store in stores.items()}
    steps = {kind: trained(kind, stage, store.word_pieces()) for kind, store in stores.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(options.steps + WARM_UP):
        for kind in (*KINDS[number % len(KINDS) :], *KINDS[: number % len(KINDS)]):
            started = time.perf_counter()
            loss = steps[kind](batches[kind].step(0, number)[0])
            seconds[kind].append(time.perf_counter() - started)
            if not math.isfinite(loss):
                raise SystemExit(f"{kind}, step {number}: the loss is {loss}: nothing is timed")
    counted = {kind: times[WARM_UP:] for kind, times in seconds.items()}
    lines = []
    for kind, times in counted.items():
        rates = sorted(options.batch_size / each for each in times)
        middle = f"{statistics.median(rates):.1f} ({rates[len(rates) // 4]:.1f} to {rates[3 * len(rates) // 4]:.1f})"
        ratio = statistics.median(base / own for base, own in zip(counted[KINDS[0]], times, strict=True))
        lines.append([f"{length}, {stage}", kind, middle, f"{ratio:.3f}"])
    return lines


def main() -> None:
    """Print one table for each length and stage."""
    from tinybert import runtime
    from tinybert.report.table import markdown_table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default="intermediate,prediction")
    parser.add_argument("--lengths", default="64,128", help="tokens of every row")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    runtime.prepare(threads=options.threads)
    print(f"{options.steps} steps of {options.batch_size} rows, {options.threads} threads, seed {options.seed}, {runtime.versions()}")
    header = ["tokens, stage", "kind", "samples/s, median (quartiles)", "against classification"]
    for length in map(int, options.lengths.split(",")):
        for stage in options.stages.split(","):
            print(markdown_table(header, measure(stage, length, options)), flush=True)


if __name__ == "__main__":
    main()
