"""One process with all threads against as many data-parallel processes as there are cores, a thread each: task distillation's first stage.

Protocol: models, rows and steps of `step.py` in its best mode; the global batch is `--batch_size` in both modes, so the same updates are
made. The processes are started by `paddle.distributed.launch` and exchange gradients through gloo. Modes take turns for `--repeats`
rounds; a step counts from its batch to the updated weights, in the slowest process; the first two steps are not counted; the figure is the
median over rounds. Memory is the sum over processes.

    python benchmark/speed/processes.py --data ~/data --task MRPC --student 4x312
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.ladder import environment  # noqa: E402
from benchmark.speed.step import STUDENTS, TEACHER  # noqa: E402

UNCOUNTED = 2


def measure(options) -> None:
    """One process of a mode: train some steps and write what was seen into `--result`."""
    from tinybert import runtime

    runtime.prepare()
    runtime.start_processes()
    import paddle

    from tinybert.data.batches import Batches
    from tinybert.data.store import TokenStore
    from tinybert.data.tasks import get_task
    from tinybert.data.tokenizer import WordPiece
    from tinybert.engine.optimizers import create_optimizer
    from tinybert.engine.processes import wait_for_all
    from tinybert.mapping import LayerMap
    from tinybert.models import hub
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.projections import Projection
    from tinybert.objectives.tinybert import intermediate_objective
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer
    from tinybert.recipes.task_data import tensors

    paddle.seed(options.seed)
    task, world = get_task(options.task), runtime.world_size()
    tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
    store = TokenStore.build_or_open(task, Path(options.data) / "Glue" / task.name, "train", tokenizer, 128 if task.is_pair else 64)
    batches = Batches(store, options.batch_size // world, seed=options.seed, rank=runtime.rank(), world=world)
    shape = STUDENTS[options.student]
    shared = {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": 512, "type_vocab_size": 2}
    teacher_model = build(family("bert"), {**shared, **TEACHER}, 2, "benchmark")
    student = build(family("tinybert"), {**shared, **shape}, 2, "benchmark")
    layers = shape["num_hidden_layers"]
    projection = Projection("shared", layers, shape["hidden_size"], TEACHER["hidden_size"])
    layer = TrainedLayer(student, intermediate_objective(LayerMap.create("uniform", layers, TEACHER["num_hidden_layers"]), projection))
    teacher = Teacher(teacher_model, layer.objective.needs_teacher)
    first = tensors(batches.step(0, 0)[0])
    layer.freeze_unreached(first, teacher(first))
    layer.train()
    optimizer = create_optimizer(layer, "adamw", weight_decay=0.01, epsilon=1e-6, max_grad_norm=1.0, grad_clip="global")
    parallel = paddle.DataParallel(layer) if world > 1 else layer
    seconds = []
    for step in range(options.steps + UNCOUNTED):
        wait_for_all()
        started = time.perf_counter()
        inputs = tensors(batches.step(0, step)[0])
        loss = parallel(inputs, teacher(inputs))["loss"] * float(world)
        loss.backward()
        float(loss)
        optimizer.set_lr(1e-5)
        optimizer.step()
        optimizer.clear_grad()
        seconds.append(time.perf_counter() - started)
    found = {
        "seconds": seconds[UNCOUNTED:],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "threads": runtime.threads(),
        "data_sha256": store.meta["source_sha256"],
        "versions": runtime.versions(),
    }
    Path(f"{options.result}.{runtime.rank()}").write_text(json.dumps(found))


def run(processes: int, options) -> list[dict]:
    """What each process of one round has seen."""
    with tempfile.TemporaryDirectory() as folder:
        words = [__file__, *sys.argv[1:], "--result", f"{folder}/rank"]
        launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes), "--backend", "gloo", "--log_dir", folder]
        command = [sys.executable, *(launcher if processes > 1 else []), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        return [json.loads(Path(f"{folder}/rank.{rank}").read_text()) for rank in range(processes)]


def main() -> None:
    """Run both modes in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--student", choices=STUDENTS, default="4x312")
    parser.add_argument("--steps", type=int, default=8, help="counted steps of a process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32, help="rows a step, over all processes")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.result:
        measure(options)
        return
    from tinybert import runtime
    from tinybert.report.table import markdown_table

    cores = runtime.available_cores()
    rounds: dict[int, list[list[dict]]] = {1: [], cores: []}
    for _ in range(options.repeats):
        for processes, seen in rounds.items():
            seen.append(run(processes, options))
    lines, base = [], 0.0
    for processes, seen in rounds.items():
        rates = [options.batch_size * options.steps / max(sum(rank["seconds"]) for rank in ranks) for ranks in seen]
        base = base or statistics.median(rates)
        memory = statistics.median(sum(rank["peak_mb"] for rank in ranks) for ranks in seen)
        name = f"processes: {processes}, threads of each: {seen[0][0]['threads']}"
        middle = statistics.median(rates)
        lines.append([name, f"{middle:.1f}", f"{min(rates):.1f} to {max(rates):.1f}", f"{middle / base:.2f} x", f"{memory:.0f} MB"])
    one = rounds[1][0][0]
    what = f"{options.task}, student {options.student}, {options.batch_size} rows a step"
    print(f"{what}; train.tsv {one['data_sha256'][:16]}, seed {options.seed}, {one['versions']}")
    print(markdown_table(["mode", "samples/s", "range", "against the first", "peak memory"], lines))


if __name__ == "__main__":
    main()
