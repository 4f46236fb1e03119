"""What stored knowledge saves: seconds per epoch and peak memory with the teacher beside the student and without it.

Protocol: a 12 x 768 teacher (BERT-base's shape) and a student, random weights, rows of random words in the lengths of the real training
set (`--data`, else quantiles of them that are written below); one epoch over `--rows` of them in batches of 32 by length, whole training
steps, the optimizer's included; all figures per epoch are scaled to the set's number of rows. Every mode runs in a process of its own;
modes take turns for `--repeats` rounds; a step before the first is not counted; figures are medians over rounds.

* online full: `--method mud` with everything kept, the teacher runs beside the student.
* online selected: the teacher runs, the student learns `--keep` of it.
* building: the teacher runs once over every row and `--keep` is stored.
* offline selected: what was stored, no teacher in the process. Its loss on the first batch must be that of online selected.
* online logits, offline logits: stage two with the teacher, and with cached logits (`--cache_teacher`, an epoch after the first).

"pays after": epochs after which building has cost less than the teacher beside the student would have.

    python benchmark/speed/knowledge.py --data ~/data                                      # both sets, both students
    python benchmark/speed/knowledge.py --tasks SST-2 --students 4x312 --rows 96 --repeats 1
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.ladder import LADDER, in_turn, prepare  # noqa: E402
from benchmark.speed.step import STUDENTS, TEACHER  # noqa: E402

MODES = ("online full", "online selected", "building", "offline selected", "online logits", "offline logits")
# rows, longest row, and 16 quantiles of the lengths in word pieces of the uncased BERT vocabulary
LENGTHS = {
    "SST-2": (67349, 64, (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 21, 27, 38)),
    "MRPC": (3668, 128, (30, 36, 40, 43, 45, 48, 50, 52, 55, 57, 59, 61, 63, 66, 70, 78)),
}
VOCABULARY, CLS, SEP = 30522, 101, 102


def rows_like(task: str, count: int, data: str | None, seed: int):
    """A token store of `count` rows of random words in the lengths of a task."""
    import numpy as np

    from tinybert.data.store import TokenStore

    random = np.random.default_rng(seed)
    _, longest, quantiles = LENGTHS[task]
    lengths = np.resize(quantiles, count)
    if data is not None:
        from tinybert.data.tasks import get_task
        from tinybert.data.tokenizer import WordPiece
        from tinybert.models import hub

        tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
        store = TokenStore.build_or_open(get_task(task), Path(data) / "Glue" / task, "train", tokenizer, longest)
        lengths = random.choice(store.lengths, count, replace=False)
    rows = [[CLS, *random.integers(1000, VOCABULARY, length - 2).tolist(), SEP] for length in lengths.tolist()]
    return TokenStore.from_arrays(rows, labels=random.integers(0, 2, count))


def measure(options) -> dict:
    """In a process of its own: build the encoders that the mode needs, train an epoch (or store it), report."""
    prepare(LADDER[-1])
    import paddle

    from tinybert import runtime
    from tinybert.data.batches import Batches
    from tinybert.engine.optimizers import create_optimizer
    from tinybert.knowledge.building import Wanted, build, open_stored
    from tinybert.knowledge.layout import Layout
    from tinybert.knowledge.selection import Selection, Tokens, Width, deciding_layers
    from tinybert.mapping import LayerMap
    from tinybert.models.families import family
    from tinybert.models.loading import build as model_of
    from tinybert.models.projections import Projection
    from tinybert.objectives.mud import SelectedHiddenLoss, selected_objective
    from tinybert.objectives.tinybert import prediction_objective
    from tinybert.objectives.trained_layer import Teacher, TrainedLayer
    from tinybert.recipes.task_data import tensors
    from tinybert.settings.mud import read_config_3d

    task, student_name, mode = options.task, options.student, options.mode
    store = rows_like(task, options.rows, options.data, options.seed)
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
    wanted = Wanted(folder, {"seed": options.seed, "rows": options.rows}, {}, depths[1], layout)
    shape = {"vocab_size": VOCABULARY, "max_position_embeddings": 512, "type_vocab_size": 2}

    def live(needs) -> Teacher:
        paddle.seed(options.seed + 1)
        return Teacher(model_of(family("bert"), {**shape, **TEACHER}, 2, "benchmark"), needs)

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
                **_peak()}  # fmt: skip
    paddle.seed(options.seed)
    student = model_of(family("tinybert"), {**shape, **STUDENTS[student_name]}, 2, "benchmark")
    if mode.endswith("logits"):
        objective = prediction_objective(2)
    else:
        projection = Projection("shared", depths[0], STUDENTS[student_name]["hidden_size"], TEACHER["hidden_size"])
        objective = selected_objective(SelectedHiddenLoss(selection, projection))
    layer = TrainedLayer(student, objective)
    source = open_stored(wanted, store, objective.needs_teacher) if mode.startswith("offline") else live(objective.needs_teacher)
    batches = Batches(store, options.batch_size, seed=options.seed)
    first = tensors(batches.step(0, 0)[0])
    layer.eval()
    with paddle.no_grad():
        result["first_loss"] = float(layer(first, source(first))["loss"])
    layer.freeze_unreached(first, source(first))
    optimizer = create_optimizer(layer, "adamw", weight_decay=0.01, epsilon=1e-6, max_grad_norm=1.0, grad_clip="global")
    layer.train()
    seconds = 0.0
    for epoch, step in ((1, 0), *((0, step) for step in range(batches.steps_per_epoch))):
        started = time.perf_counter()
        inputs = tensors(batches.step(epoch, step)[0])
        parts = layer(inputs, source(inputs))
        parts["loss"].backward()
        float(parts["loss"])
        optimizer.set_lr(1e-5)
        optimizer.step()
        optimizer.clear_grad()
        seconds += (time.perf_counter() - started) * (epoch == 0)
    return {**result, "seconds": seconds, **_peak()}


def _peak() -> dict:
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def compare(options, task: str, student: str) -> None:
    """Run every mode in turn for one set and one student, and print a table."""
    from tinybert.report.table import markdown_table

    runs = {mode: ["--mode", mode, "--task", task, "--student", student, "--folder", options.folder] for mode in MODES}
    found = in_turn(__file__, runs, options.repeats)
    for live, stored in (("online selected", "offline selected"), ("online logits", "offline logits")):
        losses = [found[mode][0]["first_loss"] for mode in (live, stored)]
        if abs(losses[0] - losses[1]) > 5e-3 * abs(losses[0]):
            raise SystemExit(f"{live} has the loss {losses[0]}, {stored} {losses[1]}: nothing is compared")
    scale = LENGTHS[task][0] / options.rows
    seconds = {mode: scale * statistics.median(result["seconds"] for result in results) for mode, results in found.items()}
    peak = {mode: statistics.median(result["peak_mb"] for result in results) for mode, results in found.items()}
    lines = []
    for mode in MODES:
        base = "online logits" if mode.endswith("logits") else "online full"
        faster = "" if mode == "building" else f"{statistics.median(_ratios(found[base], found[mode])):.2f} x"
        lines.append([mode, f"{seconds[mode]:.0f} s", faster, f"{peak[mode]:.0f} MB"])
    built = found["building"][0]
    print(f"\n{task} lengths, student {student}, {options.keep}: {built['bytes_per_row']:,.0f} bytes a row, "
          f"{100 * built['of_full']:.2f} % of all hidden states in float16")  # fmt: skip
    print(markdown_table(["mode", "an epoch", "against online", "peak memory"], lines))
    for live, stored in (("online full", "offline selected"), ("online selected", "offline selected"), ("online logits", "offline logits")):
        saved = seconds[live] - seconds[stored]
        print(f"against {live}, building pays after {seconds['building'] / saved:.2f} epochs" if saved > 0 else f"{live}: nothing is saved")
    sys.stdout.flush()


def _ratios(base: list[dict], other: list[dict]) -> list[float]:
    """Round by round, how much longer the base took."""
    return [one["seconds"] / another["seconds"] for one, another in zip(base, other, strict=True)]


def main() -> None:
    """Compare the modes for every set and every student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with Glue/<TASK>/; without it written quantiles of the lengths are taken")
    parser.add_argument("--tasks", default="SST-2,MRPC", help=f"of: {', '.join(LENGTHS)}")
    parser.add_argument("--students", default="4x312,6x768", help=f"of: {', '.join(STUDENTS)}")
    parser.add_argument("--keep", default="1l_10t_0.1h", help="entries, positions and share of hidden entries, as --config_3d")
    parser.add_argument("--rows", type=int, default=96, help="rows of an epoch that is timed")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=42)
    for hidden in ("--mode", "--task", "--student", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    from tinybert import runtime

    print(f"seed {options.seed}, {options.rows} rows, {options.repeats} rounds, {runtime.available_cores()} threads, {runtime.versions()}")
    for task in options.tasks.split(","):
        for student in options.students.split(","):
            with tempfile.TemporaryDirectory() as folder:
                options.folder = folder
                compare(options, task, student)


if __name__ == "__main__":
    main()
