"""The savings of training only the rows of the word embedding that occur in a task's texts.

Protocol: two students of one shape with the same weights, one with the whole table of 30,522 rows and one with the table reduced to the
tokens of the training rows, on gold labels: a student's own step, as with cached logits; whole steps including the optimizer, 32 rows each,
representative of an epoch (`clock.py`). Both make each step alternately, every second one in reverse order, after a warm-up of the widest;
CPU time of the process, one thread. Losses are compared in every step.

    python benchmark/speed/vocabulary.py --data ~/data --tasks SST-2,MRPC
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmark.speed import encoders
from benchmark.speed.clock import chosen_steps


def main() -> None:
    """Print one line for each task and student."""
    from tinybert import runtime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with Glue/<TASK>/")
    parser.add_argument("--tasks", default="SST-2,MRPC")
    parser.add_argument("--students", default="4x312", help=f"of: {', '.join(encoders.STUDENTS)}")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    runtime.prepare(threads=1)
    import paddle

    from tinybert.data.batches import Batches
    from tinybert.data.tasks import get_task
    from tinybert.kinds.registry import DEFAULT
    from tinybert.models.trace import Inputs
    from tinybert.objectives.tinybert import gold_objective
    from tinybert.objectives.trained_layer import TrainedLayer

    def trained(name: str, outputs: int) -> TrainedLayer:
        paddle.seed(options.seed)
        return TrainedLayer(encoders.encoder("tinybert", encoders.STUDENTS[name], outputs), gold_objective(DEFAULT))

    print(f"batches of {options.batch_size}, {options.steps} steps, one thread, seed {options.seed}, {runtime.versions()}")
    for task in options.tasks.split(","):
        store = encoders.training_rows(task, options.data)
        batches, used = Batches(store, options.batch_size, seed=options.seed), store.word_pieces()
        steps = [Inputs.of(batches.step(0, step)[0]) for step in chosen_steps(batches, options.steps)]
        widest = max(steps, key=lambda inputs: inputs.input_ids.shape[1])
        for name in options.students.split(","):
            layers = [trained(name, len(get_task(task).labels)) for _ in range(2)]
            encoders.train_rows_of(layers[1], used)
            optimizers = [encoders.optimizer_of(layer) for layer in layers]
            seconds, losses = [0.0, 0.0], [0.0, 0.0]
            for number, inputs in enumerate([widest, *steps]):
                for which in (0, 1) if number % 2 else (1, 0):
                    layers[which].train()
                    runtime.seed_step(options.seed, "benchmark", number, 0, 0)  # both have the same dropout
                    started = time.process_time()
                    losses[which] = encoders.update(layers[which](inputs)["loss"], optimizers[which])
                    seconds[which] += (time.process_time() - started) * bool(number)
                if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[0]):
                    raise SystemExit(f"{task}: the losses {losses} differ: nothing is timed")
            whole, cut = (1000 * each / len(steps) for each in seconds)
            rows = f"{len(used):,} of 30,522 rows"
            print(f"{task}, {name}: {rows}, {whole:.0f} ms with all rows, {cut:.0f} ms with these, {whole / cut:.2f} x", flush=True)


if __name__ == "__main__":
    main()
