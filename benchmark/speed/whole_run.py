"""Whole runs of `task_distill.py --stage both`: wall time and peak memory, with stored teacher traces compared with another checkout.

Protocol: a 12 x 768 teacher and a 4 x 312 student with random weights (speed does not depend on them); the first 1,000 rows of
SST-2's training set with up to 64 tokens, of MRPC's with up to 128, and 200 rows of dev, which are evaluated once per epoch; 20 epochs of
stage one and 3 of stage two with 32 rows per update, including evaluation, checkpoints and filling an empty store. Each run has its own
process.
Systems alternate, every second round in reverse order; values are medians, ratios the medians of the ratios in each round.

Systems: `stored` (this checkout, `--teacher_traces store`), `found` (the same again, with the store filled by `stored`), `live`
(`--teacher_traces live`), and with `--baseline DIR` `baseline`, the same command in another checkout, such as that of version 0.1.

    git worktree add ../v0.1 593af89
    python benchmark/speed/whole_run.py --data ~/data --baseline ../v0.1 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmark.speed.encoders import STUDENTS, TEACHER, encoder
from benchmark.speed.ladder import environment

LENGTHS = {"SST-2": 64, "MRPC": 128}
GROUPS = (("stored", "found"), ("live",), ("baseline",))  # `found` follows `stored`
ROWS = {"train.tsv": 1000, "dev.tsv": 200}


def prepare(data: Path, task: str, folder: Path) -> None:
    """Write the reduced data set, teacher and student to `folder`."""
    from tinybert.data.tasks import get_task
    from tinybert.data.tokenizer import WordPiece
    from tinybert.models import hub
    from tinybert.models.families import family
    from tinybert.models.saving import save_model

    known = get_task(task)
    for name, rows in ROWS.items():
        lines = (data / "Glue" / known.folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / name).write_text("".join(lines[: rows + 1]), encoding="utf-8")
    tokenizer = WordPiece.from_folder(hub.resolve("all-minilm-l6-v2", "tokenizer"))
    for name, kind, shape in (("teacher", "bert", TEACHER), ("student", "tinybert", STUDENTS["4x312"])):
        save_model(folder / name, encoder(kind, shape, 2), family(kind), tokenizer, known.labels)


def command(system: str, folder: Path, task: str, output: Path, epochs: tuple[float, float]) -> list[str]:
    """The command line of one run."""
    words = ["task_distill.py", "--stage", "both", "--task_name", task, "--data_dir", folder / "data", "--output_dir", output]
    words += ["--teacher_path", folder / "teacher", "--student_model_name_or_path", folder / "student", "--allow_weak_teacher"]
    words += ["--max_seq_length", LENGTHS[task], "--batch_size", 32, "--save_steps", 0, "--logging_steps", 1000]
    words += ["--intermediate_epochs", epochs[0], "--prediction_epochs", epochs[1], "--device", "cpu"]
    if system != "baseline":
        words += ["--teacher_traces", "live" if system == "live" else "store"]
    return [sys.executable, *map(str, words)]


def timed(system: str, folder: Path, task: str, epochs: tuple[float, float], baseline: Path | None) -> dict:
    """Run once; wall seconds and peak memory in MB. `found` keeps the store filled by the last `stored`."""
    cache = folder / ("store" if system in ("stored", "found") else system)
    if system != "found":
        shutil.rmtree(cache, ignore_errors=True)
    output = folder / "run"
    shutil.rmtree(output, ignore_errors=True)
    where = baseline if system == "baseline" else ROOT
    started = time.monotonic()
    with open(folder / "errors.txt", "w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command(system, folder, task, output, epochs), cwd=where, env={**environment(), "TINYBERT_CACHE": str(cache)},
            stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        if status:
            errors.seek(0)
            raise SystemExit(f"{system} ended with {os.waitstatus_to_exitcode(status)}:\n{errors.read()[-2000:]}")
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    trained = sum(record[stage]["seconds"] for stage in ("intermediate", "prediction"))
    store = sum(path.stat().st_size for path in cache.rglob("*.rows")) / 1e6
    return {"seconds": seconds, "training": trained, "peak_mb": usage.ru_maxrss / 1024, "store_mb": store}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", default="SST-2,MRPC")
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--without", default="", help="systems to leave out, separated by commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", default="20,3")
    options = parser.parse_args()
    epochs = tuple(float(number) for number in options.epochs.split(","))
    left_out = [*options.without.split(","), *([] if options.baseline else ["baseline"])]
    systems = [name for group in GROUPS for name in group if name not in left_out]
    for task in options.tasks.split(","):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(options.data, task, folder)
            found: dict[str, list[dict]] = {system: [] for system in systems}
            for turn in range(options.repeats):
                for system in (name for group in GROUPS[:: -1 if turn % 2 else 1] for name in group if name in systems):
                    found[system].append(timed(system, folder, task, epochs, options.baseline))
                    print(task, turn + 1, system, json.dumps(found[system][-1]), flush=True)
            print(f"\n| {task} | seconds | seconds in training | peak memory, MB | store, MB | of stored |\n|---|---|---|---|---|---|")
            for system in systems:
                columns = [statistics.median(run[key] for run in found[system]) for key in ("seconds", "training", "peak_mb", "store_mb")]
                ratio = statistics.median(a["seconds"] / b["seconds"] for a, b in zip(found[system], found["stored"], strict=True))
                print(f"| {system} | {columns[0]:.1f} | {columns[1]:.1f} | {columns[2]:,.0f} | {columns[3]:,.0f} | {ratio:.2f} x |")


if __name__ == "__main__":
    main()
