"""What stored knowledge saves: seconds per epoch and peak memory with the teacher beside the student and without it.

Protocol: a 12 x 768 teacher (BERT-base's shape) and a student, random weights, rows of random words out of the real training set's, which
alone are trained, and in its lengths (`--data`, else any words, in quantiles of its lengths that are written below); `--steps` batches of
32 by length that stand for an epoch, as `clock.py` chooses them, whole training steps, the optimizer's included; seconds are scaled to the
set's number of rows. Every mode runs in a process of its own; modes take turns for `--repeats` rounds; the widest step is made once before
the first and not counted; figures are medians over rounds.

* online full: `--method mud` with everything kept, the teacher runs beside the student.
* online selected: the teacher runs, the student learns `--keep` of it.
* building: the teacher runs once over every row and `--keep` is stored.
* offline selected: what was stored, no teacher in the process. Its loss on the first batch must be that of online selected.
* online logits, offline logits: stage two with the teacher, and with cached logits (`--cache_teacher`, an epoch after the first).

"pays after": epochs after which building has cost less than the teacher beside the student would have.

    python benchmark/speed/knowledge.py --data ~/data                                      # both sets, both students
    python benchmark/speed/knowledge.py --tasks SST-2 --students 4x312 --modes "online logits,offline logits"
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.clock import chosen_steps, in_turn, ratio  # noqa: E402
from benchmark.speed.encoders import (  # noqa: E402
    STUDENTS,
    TEACHER,
    encoder,
    optimizer_of,
    peak_mb,
    projection,
    train_rows_of,
    training_rows,
    update,
)
from benchmark.speed.ladder import BEST, prepare  # noqa: E402

MODES = ("online full", "online selected", "building", "offline selected", "online logits", "offline logits")
# rows, longest row, and 16 quantiles of the lengths in word pieces of the uncased BERT vocabulary
LENGTHS = {
    "SST-2": (67349, 64, (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 21, 27, 38)),
    "MRPC": (3668, 128, (30, 36, 40, 43, 45, 48, 50, 52, 55, 57, 59, 61, 63, 66, 70, 78)),
}
VOCABULARY, CLS, SEP = 30522, 101, 102


def rows_like(task: str, steps: int, batch_size: int, data: str | None, seed: int):
    """Random words, `steps` batches of them as a token store, in lengths that stand for an epoch over a task's rows; and all word pieces
    that there could have been, None for any."""
    import numpy as np

    from tinybert.data.batches import Batches
    from tinybert.data.store import TokenStore

    random = np.random.default_rng(seed)
    count, _, quantiles = LENGTHS[task]
    real = None if data is None else training_rows(task, data)
    lengths = np.resize(quantiles, count) if real is None else real.lengths
    used = None if real is None else real.word_pieces()
    pieces = np.arange(1000, VOCABULARY) if used is None else used[used >= 1000]

    def words(lengths):
        rows = [[CLS, *random.choice(pieces, length - 2).tolist(), SEP] for length in lengths]
        return TokenStore.from_arrays(rows, labels=random.integers(0, 2, len(rows)))

    batches = Batches(words(lengths.tolist()), batch_size, seed=seed)
    chosen = [int(length) for step in chosen_steps(batches, steps) for length in lengths[batches.step(0, step)[0].rows]]
    return words(chosen), used


def measure(options) -> dict:
    """In a process of its own: build the encoders that the mode needs, train an epoch (or store it), report."""
    prepare(BEST)
    import paddle

    from tinybert import runtime
    from tinybert.config.mud import read_config_3d
    from tinybert.data.batches import Batches
    from tinybert.kinds.registry import DEFAULT
    from tinybert.knowledge.building import CacheSpec, build, open_stored
    from tinybert.knowledge.layout import Layout
    from tinybert.knowledge.selection import Selection, Tokens, Width, deciding_layers
    from tinybert.mapping import LayerMap
    from tinybert.models.trace import Inputs
    from tinybert.objectives.mud import SelectedHiddenLoss, selected_objective
    from tinybert.objectives.tinybert import prediction_objective
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer

    task, student_name, mode = options.task, options.student, options.mode
    store, used = rows_like(task, options.steps, options.batch_size, options.data, options.seed)
    depths = STUDENTS[student_name]["num_hidden_layers"], TEACHER["num_hidden_layers"]
    if mode.endswith("full"):
        pairs = LayerMap.grid(*depths).hidden
        selection = Selection(pairs, deciding_layers(pairs, *depths, published=False))
    else:
        layers, tokens, hidden = read_config_3d(options.keep)
        pairs = LayerMap.grid(*depths, keep=layers).hidden
        deciding = deciding_layers(pairs, *depths, published=False)
        chosen = Tokens("attention_no_sep", tokens, SEP), Width("importance_mask_dynamic", hidden)
        selection = Selection(pairs, deciding, *chosen)
    folder = Path(options.folder) / f"{task}-{student_name}"
    layout = Layout(selection, TEACHER["hidden_size"], 2, LENGTHS[task][1])
    wanted = CacheSpec(folder, {"seed": options.seed, "rows": len(store)}, {}, depths[1], layout)

    def live(needs) -> Teacher:
        paddle.seed(options.seed + 1)
        return Teacher(encoder("bert", TEACHER, 2), needs)

    result = {"threads": runtime.threads(), "versions": runtime.versions()}
    if mode == "building":
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
        teacher = live(selection.needs)
        started = time.perf_counter()

        def given(needs) -> Teacher:
            teacher.needs = needs
            return teacher

        build(wanted, store, given, batch_size=64)
        record = json.loads((folder / "knowledge.json").read_text())
        return {**result, "seconds": time.perf_counter() - started, "of_full": record["of_full"], "bytes_per_row": record["bytes_per_row"],
                "rows": len(store), "peak_mb": peak_mb()}  # fmt: skip
    paddle.seed(options.seed)
    student = encoder("tinybert", STUDENTS[student_name], 2)
    if mode.endswith("logits"):
        objective = prediction_objective(DEFAULT)
    else:
        objective = selected_objective(SelectedHiddenLoss(selection, projection(STUDENTS[student_name], TEACHER)))
    layer = TrainedLayer(student, objective)
    if used is not None:
        train_rows_of(layer, used)
    source = open_stored(wanted, store, objective.needs_teacher) if mode.startswith("offline") else live(objective.needs_teacher)
    batches = Batches(store, options.batch_size, seed=options.seed)
    steps = range(batches.steps_per_epoch)
    widest = max((batches.step(0, step)[0] for step in steps), key=lambda batch: batch.input_ids.shape[1])
    first = Inputs.of(widest)
    layer.eval()
    with paddle.no_grad():
        result["first_loss"] = float(layer(first, source(first))["loss"])
    layer.freeze_unreached(first, source(first))
    optimizer = optimizer_of(layer)
    layer.train()
    update(layer(first, source(first))["loss"], optimizer)
    seconds = 0.0
    for step in steps:
        started = time.perf_counter()
        inputs = Inputs.of(batches.step(0, step)[0])
        update(layer(inputs, source(inputs))["loss"], optimizer)
        seconds += time.perf_counter() - started
    return {**result, "seconds": seconds, "rows": len(store), "peak_mb": peak_mb()}


def compare(options, task: str, student: str) -> None:
    """Run every mode in turn for one set and one student, and print a table."""
    from tinybert.report.table import markdown_table

    modes = [mode for mode in MODES if mode in options.modes.split(",")]
    runs = {mode: ["--mode", mode, "--task", task, "--student", student, "--folder", options.folder] for mode in modes}
    found = in_turn(__file__, runs, options.repeats)
    for live, stored in (("online selected", "offline selected"), ("online logits", "offline logits")):
        losses = [found[mode][0]["first_loss"] for mode in (live, stored) if mode in found]
        if len(losses) == 2 and abs(losses[0] - losses[1]) > 5e-3 * abs(losses[0]):
            raise SystemExit(f"{live} has the loss {losses[0]}, {stored} {losses[1]}: nothing is compared")
    times = {mode: [LENGTHS[task][0] / result["rows"] * result["seconds"] for result in results] for mode, results in found.items()}
    seconds = {mode: statistics.median(each) for mode, each in times.items()}
    lines = []
    for mode in modes:
        base = "online logits" if mode.endswith("logits") else "online full"
        faster = "" if mode == "building" or base not in times else f"{ratio(times[base], times[mode]):.2f} x"
        peak = statistics.median(result["peak_mb"] for result in found[mode])
        lines.append([mode, f"{seconds[mode]:.0f} s", faster, f"{peak:.0f} MB"])
    print(f"\n{task} lengths, student {student}, {options.keep}")
    for built in found.get("building", [])[:1]:
        print(f"{built['bytes_per_row']:,.0f} bytes a row, {100 * built['of_full']:.2f} % of all hidden states in float16")
    print(markdown_table(["mode", "an epoch", "against online", "peak memory"], lines))
    for live, stored in (("online full", "offline selected"), ("online selected", "offline selected"), ("online logits", "offline logits")):
        if {live, stored, "building"} <= set(modes):
            saved = seconds[live] - seconds[stored]
            print(
                f"against {live}, building pays after {seconds['building'] / saved:.2f} epochs"
                if saved > 0
                else f"{live}: nothing is saved"
            )
    sys.stdout.flush()


def main() -> None:
    """Compare the modes for every set and every student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with Glue/<TASK>/; without it written quantiles of the lengths are taken")
    parser.add_argument("--tasks", default="SST-2,MRPC", help=f"of: {', '.join(LENGTHS)}")
    parser.add_argument("--students", default="4x312,6x768", help=f"of: {', '.join(STUDENTS)}")
    parser.add_argument("--keep", default="1l_10t_0.1h", help="entries, positions and share of hidden entries, as --config_3d")
    parser.add_argument("--modes", default=",".join(MODES), help=f"of: {', '.join(MODES)}; offline ones need building before them")
    parser.add_argument("--steps", type=int, default=12, help="batches that are timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    for hidden in ("--mode", "--task", "--student", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    from tinybert import runtime

    print(
        f"seed {options.seed}, {options.steps} steps, {options.repeats} rounds, {runtime.available_cores()} threads, {runtime.versions()}"
    )
    for task in options.tasks.split(","):
        for student in options.students.split(","):
            with tempfile.TemporaryDirectory() as folder:
                options.folder = folder
                compare(options, task, student)


if __name__ == "__main__":
    main()
