"""One process with all threads compared with one data-parallel process per core with one thread: task distillation's first stage.

Protocol: models and rows of `step.py` in its best mode, steps chosen as in `clock.py`; the global batch is `--batch_size` in both modes,
so the updates are the same. The processes are started by `paddle.distributed.launch` and exchange gradients through gloo. Modes alternate
for `--repeats` rounds; a step is timed from its batch to the updated weights, in the slowest process; two warm-up steps, both the widest
one, are not counted; values are medians over rounds. Memory is the sum over processes of their proportional set sizes (PSS)
after the steps: shared pages count once.

    python benchmark/speed/processes.py --data ~/data --task MRPC --student 4x312
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed import encoders
from benchmark.speed.clock import chosen_steps, ratio
from benchmark.speed.ladder import environment
from tinybert.cli.process_exit import exit_process

UNCOUNTED = 2


def measure(options) -> None:
    """One process of a mode: train some steps and write the measurements to `--result`."""
    from tinybert import devices, runtime

    runtime.prepare()
    devices.start_processes()
    import paddle

    from tinybert.data.batches import Batches
    from tinybert.data.tasks import get_task
    from tinybert.engine.processes import wait_for_all
    from tinybert.models.trace import Inputs
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer

    paddle.seed(options.seed)
    world, shape = runtime.world_size(), encoders.STUDENTS[options.student]
    store, outputs = encoders.training_rows(options.task, options.data), max(1, len(get_task(options.task).labels))
    batches = Batches(store, options.batch_size // world, seed=options.seed, rank=runtime.rank(), world=world)
    steps = chosen_steps(batches, options.steps)
    widest = max(steps, key=lambda step: batches.step(0, step)[0].input_ids.shape[1])
    teacher_model, student, objective, _ = encoders.first_stage(shape, encoders.TEACHER, outputs)
    layer = TrainedLayer(student, objective)
    encoders.train_rows_of(layer, store.word_pieces())
    teacher = Teacher(teacher_model, layer.objective.needs_teacher)
    first = Inputs.of(batches.step(0, widest)[0])
    layer.freeze_unreached(first, teacher(first))
    layer.train()
    optimizer = encoders.optimizer_of(layer)
    parallel = paddle.DataParallel(layer) if world > 1 else layer
    seconds = []
    for step in (*UNCOUNTED * (widest,), *steps):
        wait_for_all()
        started = time.perf_counter()
        inputs = Inputs.of(batches.step(0, step)[0])
        encoders.update(parallel(inputs, teacher(inputs))["loss"] * float(world), optimizer)
        seconds.append(time.perf_counter() - started)
    wait_for_all()
    found = {
        "seconds": seconds[UNCOUNTED:],
        "mb": _proportional_mb(),
        "threads": runtime.threads(),
        "data_sha256": store.meta["source_sha256"],
        "versions": runtime.versions(),
    }
    Path(f"{options.result}.{runtime.rank()}").write_text(json.dumps(found))


def _proportional_mb() -> float:
    """This process's proportional set size."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def run(processes: int, options) -> list[dict]:
    """The measurements of each process in one round."""
    with tempfile.TemporaryDirectory() as folder:
        words = [__file__, *sys.argv[1:], "--result", f"{folder}/rank"]
        launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes), "--backend", "gloo", "--log_dir", folder]
        command = [sys.executable, *(launcher if processes > 1 else []), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        return [json.loads(Path(f"{folder}/rank.{rank}").read_text()) for rank in range(processes)]


def main() -> None:
    """Run both modes alternately and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--student", choices=encoders.STUDENTS, default="4x312")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of a process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32, help="rows a step, over all processes")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.result:
        measure(options)
        exit_process(0)
    from tinybert import runtime
    from tinybert.report.table import markdown_table

    cores = runtime.available_cores()
    rounds: dict[int, list[list[dict]]] = {1: [], cores: []}
    for _ in range(options.repeats):
        for processes, seen in rounds.items():
            seen.append(run(processes, options))
    lines = []
    rates = {
        processes: [options.batch_size * options.steps / max(sum(rank["seconds"]) for rank in ranks) for ranks in seen]
        for processes, seen in rounds.items()
    }
    for processes, seen in rounds.items():
        mine = rates[processes]
        memory = statistics.median(sum(rank["mb"] for rank in ranks) for ranks in seen)
        name = f"processes: {processes}, threads of each: {seen[0][0]['threads']}"
        faster = ratio(mine, rates[1])
        lines.append([name, f"{statistics.median(mine):.1f}", f"{min(mine):.1f} to {max(mine):.1f}", f"{faster:.2f} x", f"{memory:.0f} MB"])
    one = rounds[1][0][0]
    what = f"{options.task}, student {options.student}, {options.batch_size} rows a step"
    print(f"{what}; train.tsv {one['data_sha256'][:16]}, seed {options.seed}, {one['versions']}")
    print(markdown_table(["mode", "samples/s", "range", "against the first", "memory"], lines))


if __name__ == "__main__":
    main()
