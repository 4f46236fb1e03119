"""Compares students and methods: every combination is trained with the same number of updates; writes a table, a figure and a page.

Supports new students, layers of the teacher, checkpoints and pruned teachers; all methods; seeds; a budget in minutes; parallel runs, on
this machine or a Ray cluster; resuming. Token ids and teacher traces are shared by all runs.
Limits: equal numbers of updates, no hyperparameter search; only the final model of each run is kept.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tinybert import runtime, storage
from tinybert.commands.compare import CompareConfig
from tinybert.compare.budget import EPOCHS, Costs, Load, affordable, costs_of
from tinybert.compare.difference import standard_error
from tinybert.compare.page import loss_curves, page
from tinybert.compare.plan import Row, by_needs, learned, method_of, passes, plan, reads_teacher
from tinybert.compare.runner import INTERRUPTED, LOG, Commands, run_alone, run_local, run_ray
from tinybert.compare.summary import Line, advice, best_and_plain, conditions, error_of, lines_of, table, teacher_score
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task
from tinybert.deploy.bench import Measured, pareto_figure, write_pareto
from tinybert.deploy.bench import compare as measure
from tinybert.deploy.predictor import Predictor
from tinybert.deploy.scoring import ScoredRows
from tinybert.engine.run_record import DataEntry, RunRecord, now, write_record
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.model_info import read_model_info
from tinybert.recipes.output_folder import Claim, claimed, given_options
from tinybert.recipes.result import Result
from tinybert.recipes.task_data import TaskData, task_of

DONE, RUNS, PROBE = "done.json", "runs", "probe"
_WRITTEN = (RUNS, PROBE, DONE, "compare.json", "report.html", "report.md", "pareto.png", "pareto.svg", "run.json")
_CHANGEABLE = ("parallel", "threads", "runner", "address")  # when resuming
PROBE_UPDATES = 12  # of the run that measures the speed
TIMED_ROWS = 20  # for latency and throughput


def compare(config: CompareConfig) -> Result:
    """Train all combinations of `--students` and `--methods`, and write the comparison to `--output_dir`."""
    config = config.replace(output_dir=Path(config.output_dir).expanduser())
    task = task_of(config)
    model = read_model_info(config.teacher_path, config.do_lower_case, "teacher")
    if model.weights is None:
        raise UserError(f"the teacher {config.teacher_path} has no weights, but its time is measured: give the folder with its weights")
    length = config.max_seq_length or (128 if task.is_pair else 64)
    data = TaskData.find(task, config, ["train", task.eval_splits[0]], model.tokenizer, length)
    stores = {split: data.store(split) for split in ("train", task.eval_splits[0])}
    shape = model.config.num_attention_heads, model.config.intermediate_size
    with claimed(config, "a comparison", given_options(config, _CHANGEABLE), _WRITTEN) as claim:
        if claim.get("updates") is None:
            claim.record(updates=config.updates or _affordable(config, length, shape, len(stores["train"]), task.kind.head == "sequence"))
        updates = claim.get("updates")
        rows = plan(config, length, updates, *shape, task.kind.head == "sequence")
        logger.info(f"comparing {len(rows)} runs of {updates} updates on {task.name}: {claim.folder}")
        codes = _run(config, claim, rows)
        return _report(config, task, data, stores, rows, codes, claim)


# === Before the first run ===


def _affordable(config: CompareConfig, length: int, shape: tuple[int, int], rows: int, stores: bool) -> int:
    """The updates per run: `EPOCHS` epochs, or what fits into `--budget_minutes` at the speed of a short run."""
    epoch = -(-rows // config.batch_size)
    if config.budget_minutes is None:
        return EPOCHS * epoch
    started = time.monotonic()
    costs = _probe(config, length, shape, stores)
    count, alone = len(plan(config, length, PROBE_UPDATES, *shape)), config.parallel > 1 and reads_teacher(config)
    turns = alone + math.ceil((count - alone) / config.parallel)
    more = config.use_aug or config.unlabelled_file  # so many rows that each is new
    load = Load(turns, math.inf if more else epoch, passes(config) if stores else 0, len(config.seeds))
    found = affordable(config.budget_minutes - (time.monotonic() - started) / 60, load, costs)
    if found < epoch:
        logger.warning(f"the budget is enough for {found} updates per run, {found / epoch:.2f} epochs: scores will be far from their best")
    return found


def _probe(config: CompareConfig, length: int, shape: tuple[int, int], stores: bool) -> Costs:
    """The costs of the most demanding method, from a short run.

    It reads rows in an order of its own, so that as large a share of them is in the store of teacher outputs as later in the comparison.
    """
    heaviest = max(config.methods, key=lambda name: (method_of(name).reads_teacher, len(learned(name))))
    folder = Path(config.output_dir) / PROBE
    short = config.replace(methods=[heaviest], seeds=[time.time_ns() % 2**31], students=config.students[:1], output_dir=folder)
    (probe,) = plan(short, length, PROBE_UPDATES, *shape, stores)
    shutil.rmtree(folder, ignore_errors=True)
    logger.info(f"measuring the speed of {probe.name}")
    started = time.monotonic()
    if run_alone(probe.commands, probe.folder, INTERRUPTED, _threads(config)):
        raise UserError(f"the run that measures the speed failed: {error_of(probe)}\nread {probe.folder}/{LOG}")
    whole = time.monotonic() - started
    record = json.loads((probe.folder / "run.json").read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    return costs_of([record[stage] for stage in method_of(heaviest).stages], whole)


def _threads(config: CompareConfig) -> int | None:
    """The threads of a run."""
    return config.threads or (max(1, runtime.available_cores() // config.parallel) if config.parallel > 1 else None)


# === The runs ===


def _run(config: CompareConfig, claim: Claim, rows: Sequence[Row]) -> dict[str, int]:
    """Execute runs that have not finished successfully before; returns exit codes by run name."""
    path = claim.folder / DONE
    codes: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    left = by_needs([row for row in rows if codes.get(row.name) != 0])
    started = time.monotonic()

    def done(number: int, code: int, seconds: float) -> None:
        codes[left[number].name] = code
        if code == 0:
            keep_last_model(left[number].folder)
        storage.write_json(path, codes)
        claim.record()  # the time
        finished = sum(row.name in codes for row in left)
        remaining = (len(left) - finished) * (time.monotonic() - started) / max(1, finished)
        said = "" if code == 0 else f" failed with {code}: {error_of(left[number])}"
        logger.info(f"{finished}/{len(left)} {left[number].name}: {seconds:.0f} s{said}; ETA {remaining / 60:.1f} min")

    jobs: list[tuple[Commands, Path]] = [(row.commands, row.folder) for row in left]
    if config.runner == "ray":
        run_ray(jobs, config.address, _threads(config) or runtime.available_cores(), done)
    else:
        run_local(jobs, config.parallel, _threads(config), done, first_alone=reads_teacher(config))
    return codes


def keep_last_model(folder: Path) -> None:
    """Delete the other models and the checkpoints of a finished run to save disk space."""
    for other in folder.iterdir():
        if other.name != "final":
            storage.remove_own(other)


# === Results ===


def _report(
    config: CompareConfig, task: Task, data: TaskData, stores: dict[str, TokenStore], rows: list[Row], codes: dict[str, int], claim: Claim
) -> Result:
    """Evaluate the models, and write the table, the figures, the page and the records.

    Raises:
        UserError: no run was successful.
    """
    output, updates = claim.folder, claim.get("updates")
    finished = [row for row in rows if codes.get(row.name) == 0]
    teacher, lines = _measured(config, task, data, lines_of(rows, codes, task.metric), finished)
    threads = config.threads or runtime.available_cores()
    shown, about = table(lines, teacher, task.metric), conditions(updates, config.batch_size, config.seeds, threads)
    notes = advice(lines, teacher, _error_of_gain(task, data, finished, lines))
    title = f"{task.name}: students and methods at equal updates"
    pareto = pareto_figure([teacher, *(replace(line.measured, score=line.mean) for line in lines if line.measured)], task.metric, task.name)
    write_pareto(pareto, output)
    figures = [pareto, loss_curves(finished)] if finished else [pareto]
    storage.write_file(output / "report.html", page(title, shown, about, notes, figures))
    storage.write_file(output / "report.md", "\n\n".join([f"# {title}", shown, about, *(f"* {note}" for note in notes)]) + "\n")
    record = {"task": task.name, "metric": task.metric, "updates": updates, "seeds": config.seeds, "teacher": asdict(teacher)}
    record["lines"] = [line.as_json() for line in lines]
    _record(output, record, stores, claim.seconds)
    logger.info("\n".join([shown, "", about, "", *notes, f"took {claim.seconds / 60:.1f} minutes; page: {output / 'report.html'}"]))
    done = [line for line in lines if line.scores]
    if not done:
        raise UserError(f"no run of the comparison succeeded: {lines[0].error}\nread {output}/{RUNS}/*/{LOG}")
    best = max(done, key=lambda line: line.mean)
    return Result(output, {task.metric: best.mean / 100}, best=best.folder, record=record)


def _measured(config: CompareConfig, task: Task, data: TaskData, lines: list[Line], rows: Sequence[Row]) -> tuple[Measured, list[Line]]:
    """Time the teacher and one model of each line together in this process. rows: the finished runs, which have evaluated the teacher."""
    threads = config.threads or runtime.available_cores()
    models = {"teacher": Predictor.open(config.teacher_path, threads)}
    models |= {line.name: Predictor.open(line.folder, threads) for line in lines if line.scores}
    known = {line.name: line.scores[0] for line in lines if line.scores}
    if taught := [score for row in rows if (score := teacher_score(row, task.metric)) is not None]:
        known["teacher"] = taught[0]
    found = {one.name: one for one in measure(models, task, data.folder, TIMED_ROWS, TIMED_ROWS, known)}
    return found["teacher"], [replace(line, measured=found.get(line.name)) for line in lines]


def _error_of_gain(task: Task, data: TaskData, rows: Sequence[Row], lines: Sequence[Line]) -> float | None:
    """The standard error, in points, of the best line's gain over the same student without a teacher; None if there is none.

    rows: the finished runs.
    """
    best, plain = best_and_plain(lines)
    if best is None or plain is None or task.kind.of_words or task.kind.of_windows:
        return None
    runs = [[row for row in rows if row.line == line.name] for line in (best, plain)]
    if [row.seed for row in runs[0]] != [row.seed for row in runs[1]]:
        return None
    models = [[_scorer(task, data, row.folder / "final") for row in own] for own in runs]
    return 100 * standard_error(*models, len(data.store(task.eval_splits[0])))


def _scorer(task: Task, data: TaskData, folder: Path) -> Callable[[np.ndarray], float]:
    """The score of a model on some of the dev rows."""
    predictor = Predictor.open(folder)
    scored = ScoredRows.of(task, data.folder, predictor)
    store = scored.store(predictor.tokenizer)
    logits = predictor.logits(store, predictor.batch_size())
    return lambda rows: scored.score(logits[rows], store.labels[rows])[task.metric]


def _record(output: Path, record: dict, stores: dict[str, TokenStore], seconds: float) -> None:
    storage.write_json(output / "compare.json", record | {"versions": runtime.versions(), "minutes": round(seconds / 60, 2)})
    entries = {split: DataEntry(len(store), store.meta["source_sha256"]) for split, store in stores.items()}
    job = RunRecord("comparison", finished=now(), seconds=seconds, versions=runtime.versions(), data=entries, details=record)
    write_record(output, "comparison", job)
