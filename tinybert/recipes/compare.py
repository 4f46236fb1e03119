"""Compares students and methods: every combination is trained with the same number of updates; writes a table, a figure and a page.

Supports new students, layers of the teacher, checkpoints and pruned teachers; all methods; seeds; a budget in minutes; parallel runs, on
this machine or a Ray cluster; resuming. Token ids and teacher traces are shared by all runs.
Limits: equal numbers of updates, no hyperparameter search.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tinybert import runtime, storage
from tinybert.commands.compare import CompareConfig
from tinybert.compare.page import loss_curves, page
from tinybert.compare.plan import PRUNED, Row, method_of, plan
from tinybert.compare.runner import Commands, run_commands, run_local, run_ray
from tinybert.compare.runner import child_environment as environment
from tinybert.compare.summary import Line, advice, error_of, lines_of, table
from tinybert.data.tasks import Task
from tinybert.deploy.bench import Measured, picture
from tinybert.deploy.bench import compare as measure
from tinybert.deploy.predictor import Predictor
from tinybert.engine.run_record import DataEntry, RunRecord, now, write_record
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.model_info import read_model_info
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.result import Result
from tinybert.recipes.task_data import TaskData, task_of

PLAN, DONE = "plan.json", "done.json"
PROBE_UPDATES, OVERHEAD = 12, 20.0  # updates of the run that measures the speed; seconds of a run besides its updates
EPOCHS = 3


def compare(config: CompareConfig) -> Result:
    """Train all combinations of `--students` and `--methods`, and write the comparison to `--output_dir`."""
    started = time.monotonic()
    task, output = task_of(config), Path(config.output_dir)
    check_inputs_not_overwritten(config, [output])
    teacher = read_model_info(config.teacher_path, config.do_lower_case, "teacher")
    length = config.max_seq_length or (128 if task.is_pair else 64)
    data = TaskData.find(task, config, ["train", task.eval_splits[0]], teacher.tokenizer, length)
    shape = teacher.config.num_attention_heads, teacher.config.intermediate_size
    _claim(config, output)
    rows_in_train = len(data.store("train"))
    updates = config.updates or (
        _fitting(config, length, shape) if config.budget_minutes else -(-EPOCHS * rows_in_train // config.batch_size)
    )
    rows = plan(config, length, max(3, updates), *shape)
    logger.info(f"comparing {len(rows)} runs of {updates} updates on {task.name}: {output}")
    codes = _run(config, output, rows)
    lines = lines_of(rows, codes, task.metric)
    measured, lines = _measured(config, task, data, lines)
    shown, notes = table(lines, measured, task.metric), advice(lines, measured)
    _write(output, task, lines, measured, shown, notes, rows, codes)
    minutes = (time.monotonic() - started) / 60
    record = {
        "task": task.name,
        "metric": task.metric,
        "updates": updates,
        "seeds": config.seeds,
        "lines": [_plain(line) for line in lines],
    }
    _record(output, record | {"teacher": asdict(measured)}, data, minutes)
    logger.info("\n".join([shown, "", *notes, f"took {minutes:.1f} minutes; page: {output / 'report.html'}"]))
    done = [line for line in lines if line.scores]
    if not done:
        raise UserError(f"no run of the comparison succeeded: {lines[0].error}\nread {output}/runs/*/log.txt")
    best = max(done, key=lambda line: line.mean)
    return Result(output, {task.metric: best.mean / 100}, best=best.folder, record=record)


# === Before the first run ===


def _claim(config: CompareConfig, output: Path) -> None:
    """Use the output folder for this plan, or resume it.

    Raises:
        UserError: it contains another comparison, or other files.
    """
    wanted = json.loads(json.dumps({name: getattr(config, name) for name in config.given if name not in _RESUME_IGNORED}, default=str))
    if output.is_file():
        raise UserError(f"--output_dir {output} is a file\nchoose a folder")
    if output.is_dir() and any(output.iterdir()):
        known = output / PLAN
        if not known.is_file():
            raise UserError(f"--output_dir {output} is not empty and contains no comparison\nchoose another folder")
        before = json.loads(known.read_text(encoding="utf-8"))
        different = sorted(name for name in {*before, *wanted} if before.get(name) != wanted.get(name))
        if not config.resume and not config.overwrite_output_dir:
            raise UserError(f"{output} already contains a comparison\nresume it with --resume, or replace it with --overwrite_output_dir")
        if config.resume and different:
            shown = "; ".join(f"{name}: was {before.get(name)}, is {wanted.get(name)}" for name in different)
            raise UserError(f"--resume: the comparison in {output} has other options ({shown})\ngive the same options or another folder")
        if config.overwrite_output_dir:
            shutil.rmtree(output / "runs", ignore_errors=True)
            for name in (DONE, "compare.json", "report.html", "report.md", "pareto.png", "pareto.svg", "run.json"):
                (output / name).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    storage.write_json(output / PLAN, wanted)


_RESUME_IGNORED = ("resume", "overwrite_output_dir", "parallel", "threads", "runner", "address")  # options that may change when resuming


def _fitting(config: CompareConfig, length: int, shape: tuple[int, int]) -> int:
    """The number of updates per run that fits the budget, according to the speed of a short run."""
    heaviest = max(config.methods, key=lambda name: (method_of(name).reads_teacher, len(method_of(name).stages)))
    short = config.replace(methods=[heaviest], seeds=config.seeds[:1], students=config.students[:1], budget_minutes=None)
    (probe,) = plan(short, length, PROBE_UPDATES, *shape)
    folder = Path(config.output_dir) / "runs" / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    words = [[str(folder) if word == str(probe.folder) else word for word in command] for command in probe.commands]
    logger.info(f"measuring the speed of {probe.name}")
    code = run_commands(words, folder, environment(config.threads))
    if code:
        raise UserError(f"the run that measures the speed failed: {error_of(replace(probe, folder=folder))}\nread {folder}/log.txt")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    seconds = sum(entry.get("seconds") or 0 for entry in record.values()) / PROBE_UPDATES
    count = len(config.seeds) * sum(1 if method == PRUNED else len(config.students) for method in config.methods)
    available = 0.9 * 60 * config.budget_minutes * config.parallel / count - OVERHEAD
    return max(3, int(available / seconds))


# === The runs ===


def _run(config: CompareConfig, output: Path, rows: Sequence[Row]) -> dict[str, int]:
    """Execute runs that have not finished successfully before; returns exit codes by run name."""
    path = output / DONE
    codes: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    left = [row for row in rows if codes.get(row.name) != 0]
    started = time.monotonic()

    def done(number: int, code: int, seconds: float) -> None:
        codes[left[number].name] = code
        storage.write_json(path, codes)
        finished = sum(row.name in codes for row in left)
        remaining = (len(left) - finished) * (time.monotonic() - started) / max(1, finished)
        said = "" if code == 0 else f" failed with {code}: {error_of(left[number])}"
        logger.info(f"{finished}/{len(left)} {left[number].name}: {seconds:.0f} s{said}; ETA {remaining / 60:.1f} min")

    jobs: list[tuple[Commands, Path]] = [(row.commands, row.folder) for row in left]
    threads = config.threads or max(1, runtime.available_cores() // config.parallel)
    if config.runner == "ray":
        run_ray(jobs, config.address, threads, done)
    else:
        run_local(jobs, config.parallel, threads if config.parallel > 1 else config.threads, done)
    return codes


# === Results ===


def _measured(config: CompareConfig, task: Task, data: TaskData, lines: list[Line]) -> tuple[Measured, list[Line]]:
    """Evaluate and time the teacher and one model of each line together in this process."""
    threads = config.threads or runtime.available_cores()
    shapes = {f"{line.student}, {line.method}": line for line in lines if line.scores}
    models = {"teacher": Predictor.open(config.teacher_path, threads)}
    models |= {name: Predictor.open(line.folder, threads) for name, line in shapes.items()}
    found = {one.name: one for one in measure(models, task, data.folder, rows=50, batch_size=32)}
    return found["teacher"], [replace(line, measured=found.get(f"{line.student}, {line.method}")) for line in lines]


def _write(
    output: Path, task: Task, lines: list[Line], teacher: Measured, shown: str, notes: list[str], rows: Sequence[Row], codes: dict[str, int]
) -> None:
    drawn = [teacher, *(replace(line.measured, score=line.mean) for line in lines if line.measured)]
    picture(drawn, task.metric, task.name, output)
    title = f"{task.name}: students and methods at equal updates"
    ended = [row for row in rows if codes.get(row.name) == 0]
    text = page(title, shown, notes, [loss_curves(ended)] if ended else [])
    drawing = (output / "pareto.svg").read_text(encoding="utf-8")
    storage.write_file(output / "report.html", text.replace("<h2>", f"<figure>{drawing[drawing.index('<svg') :]}</figure>\n<h2>", 1))
    storage.write_file(output / "report.md", f"# {title}\n\n{shown}\n\n" + "\n".join(f"* {note}" for note in notes) + "\n")


def _record(output: Path, record: dict, data: TaskData, minutes: float) -> None:
    storage.write_json(output / "compare.json", record | {"versions": runtime.versions(), "minutes": round(minutes, 2)})
    stores = {split: data.store(split) for split in ("train", data.task.eval_splits[0])}
    entries = {split: DataEntry(len(store), store.meta["source_sha256"]) for split, store in stores.items()}
    job = RunRecord("comparison", finished=now(), seconds=60 * minutes, versions=runtime.versions(), data=entries, details=record)
    write_record(output, "comparison", job)


def _plain(line: Line) -> dict[str, object]:
    """A line as a JSON object."""
    values = asdict(line) | {"folder": str(line.folder) if line.folder else None}
    return values | ({"mean": line.mean, "deviation": line.deviation} if line.scores else {})
