"""Finds the best student within limits: candidates are measured as exported files and trained by successive halving; the best is exported.

Supports layers of the teacher, general students and new shapes; limits of latency and size as measured on this machine; a budget in
minutes; augmented rows and texts without labels, which are kept if they help on dev.
Limits: TinyBERT's two stages with one learning rate, which are repeated in every round.
"""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from tinybert import devices, runtime, storage
from tinybert.commands.auto import AutoConfig
from tinybert.commands.compare import CompareConfig
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.export import ExportConfig
from tinybert.compare.budget import BudgetError
from tinybert.compare.plan import student_options
from tinybert.config.options import Config
from tinybert.config.rows import DataOptions
from tinybert.data.tasks import Task
from tinybert.deploy.bench import Measured, pareto_figure, timed, write_pareto
from tinybert.deploy.export import untrained
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.hub import available
from tinybert.models.model_info import ModelInfo, read_model_info
from tinybert.models.translation import have_same_tokens
from tinybert.recipes.compare import compare
from tinybert.recipes.export import export
from tinybert.recipes.output_folder import Claim, claimed, given_options
from tinybert.recipes.result import Result
from tinybert.recipes.run_student import make_student
from tinybert.recipes.task_data import TaskData, task_of
from tinybert.recipes.teacher_source import LazyTeacher
from tinybert.report.table import markdown_table

METHOD = "tinybert"
MAX_CANDIDATES = 4  # in the first round
_MORE_ROWS = ("use_aug", "aug_file", "unlabelled_file")
_WRITTEN = ("round-*", "export", "auto.json", "pareto.png", "pareto.svg")


def auto(config: AutoConfig) -> Result:
    """Write the best student within the limits to `--output_dir`/export, with a report of all candidates."""
    config = config.replace(output_dir=Path(config.output_dir).expanduser())
    task = task_of(config)
    devices.set_device(config.device)
    teacher = read_model_info(config.teacher_path, config.do_lower_case, "teacher")
    length = config.max_seq_length or (128 if task.is_pair else 64)
    data = TaskData.find(task, config, ["train", task.eval_splits[0]], teacher.tokenizer, length)
    with claimed(config, "results of auto", given_options(config, ()), _WRITTEN) as claim:
        if claim.get("measured") is None:
            candidates = config.students or default_candidates(teacher)
            claim.record(measured=[asdict(one) for one in _measured(config, task, data, candidates)])
        found = [Measured(**one) for one in claim.get("measured")]
        students = within(config, found)
        logger.info(_candidates_table(found, students))
        rounds = _train(config, claim, students, length)
        return _report(config, task, found, rounds, length, claim)


def _report(config: AutoConfig, task: Task, found: list[Measured], rounds: list[dict], length: int, claim: Claim) -> Result:
    """Export the winner, with a warning if its score drops, and write and print what was tried."""
    output, best = claim.folder, best_line(rounds)
    winner = best["student"]
    exported = export(
        ExportConfig(
            **_data_of(config, ExportConfig), model_path=best["folder"], format=[config.format], precision=[config.precision],
            output_dir=output / "export", threads=config.threads, overwrite_output_dir=True, max_seq_length=length,
            allow_drop=True,
        )
    )  # fmt: skip
    score = exported.record["exports"][-1]["measures"]["score"]
    scores = {line["student"]: line["mean"] for record in rounds for line in record["lines"] if line["scores"]} | {winner: score}
    drawn = [Measured(**rounds[-1]["teacher"]), *(replace(one, score=scores[one.name]) for one in found if one.name in scores)]
    write_pareto(pareto_figure(drawn, task.metric, task.name, chosen=winner), output)
    record = {
        "task": task.name, "metric": task.metric, "winner": winner, "score": score, "measured": [asdict(one) for one in found],
        "rounds": [{name: part[name] for name in ("updates", "more_rows", "lines")} for part in rounds], "versions": runtime.versions(),
        "minutes": round(claim.seconds / 60, 2),
    }  # fmt: skip
    storage.write_json(output / "auto.json", record)
    logger.info("\n".join([_rounds_table(rounds, task.metric), "", *_closing(rounds, winner, score, task.metric), f"written: {output}"]))
    return Result(output, {task.metric: score / 100}, best=output / "export", record=record)


# === Candidates ===


def default_candidates(teacher: ModelInfo) -> list[str]:
    """Evenly spaced layers of the teacher, general students that it can teach, and new shapes whose width its heads divide."""
    layers, heads = teacher.config.num_hidden_layers, teacher.config.num_attention_heads
    counts = dict.fromkeys(count for count in (layers // 2, layers // 3) if count)
    found = [f"teacher:{','.join(str(layers * (i + 1) // count) for i in range(count))}" for count in counts]
    shapes = [(4, 312), (4, 192), (2, 312), (2, 192), (2, 96)]
    fresh = [f"{depth}x{width}" for depth, width in shapes if width % heads == 0 and width < teacher.config.hidden_size]
    general = [name for name in available() if _fits(read_model_info(name, None, "student"), teacher)]
    return [*found, *general, *(shape for shape in fresh if not general or shape != "4x312")]


def _fits(student: ModelInfo, teacher: ModelInfo) -> bool:
    heads = student.config.num_attention_heads == teacher.config.num_attention_heads
    return heads and student.config.hidden_size < teacher.config.hidden_size and have_same_tokens(student.tokenizer, teacher.tokenizer)


def _measured(config: AutoConfig, task: Task, data: TaskData, candidates: list[str]) -> list[Measured]:
    """Time and size of each candidate as an exported file, before training."""
    threads = config.threads or runtime.available_cores()
    teacher = LazyTeacher(_student_config(config, candidates[0]), task.labels, task.kind)
    with tempfile.TemporaryDirectory() as name:
        models: dict[str, Predictor] = {}
        for number, student in enumerate(candidates):
            loaded = make_student(_student_config(config, student), teacher, task.labels, task.kind)
            models[student] = untrained(Path(name) / str(number), config.format, config.precision, loaded, data.trained_on, threads)
        return timed(models, task, data.folder, rows=50, batch_size=32)


def _student_config(config: AutoConfig, student: str) -> TaskDistillConfig:
    words = student_options(student)
    named = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    return TaskDistillConfig(
        **_data_of(config, TaskDistillConfig), **named, teacher_path=config.teacher_path, output_dir=config.output_dir, seed=config.seed
    )


def _data_of(config: AutoConfig, command: type[Config]) -> dict[str, object]:
    """The given data options that a command has."""
    names = [name for name in DataOptions.options() if name in config.given and name in command.options() and name != "max_seq_length"]
    return {name: getattr(config, name) for name in names}


def within(config: AutoConfig, found: list[Measured]) -> list[str]:
    """The candidates within the limits; of these the `MAX_CANDIDATES` slowest, which have the largest capacity.

    Raises:
        UserError: there is none.
    """
    limits = [f"{name} {value:g}" for name, value in (("--max_ms", config.max_ms), ("--max_mb", config.max_mb)) if value is not None]
    kept = [
        one for one in found
        if (config.max_ms is None or one.milliseconds <= config.max_ms) and (config.max_mb is None or one.megabytes <= config.max_mb)
    ]  # fmt: skip
    if not kept:
        nearest = "; ".join(f"{one.name}: {one.milliseconds:.2f} ms, {one.megabytes:.1f} MB" for one in found)
        raise UserError(f"{' and '.join(limits)}: no candidate is within the limits ({nearest})\nraise them, or give smaller --students")
    return [one.name for one in sorted(kept, key=lambda one: -one.milliseconds)[:MAX_CANDIDATES]]


def _candidates_table(found: list[Measured], trained: list[str]) -> str:
    rows = [[one.name, f"{one.milliseconds:.2f}", f"{one.megabytes:.1f}", "yes" if one.name in trained else "no"] for one in found]
    return markdown_table(["student", "ms a row", "MB", "trained"], rows)


# === Rounds ===


def _train(config: AutoConfig, claim: Claim, students: list[str], length: int) -> list[dict]:
    """The records of the rounds; the students and minutes of a round are recorded before it starts, so that it can be resumed.

    If the budget is too small for all students, only the slower half of them is trained.

    Raises:
        UserError: the budget is too small for a single student, or every run of a round failed.
    """
    more = any(getattr(config, name) for name in _MORE_ROWS)
    planned, rounds = claim.get("rounds") or [], []
    students = planned[0]["students"] if planned else students
    count = rounds_of(len(students), more)
    while len(rounds) < count:
        left = count - len(rounds)
        if len(planned) == len(rounds):
            minutes = (config.budget_minutes - claim.seconds / 60) * share(left, more)
            planned.append({"students": students, "minutes": minutes, "more_rows": more and left > 1})
            claim.record(rounds=planned)
        part = planned[len(rounds)]
        if rounds and part["minutes"] <= 0:
            break
        try:
            rounds.append(_round(config, part, length, claim.folder / f"round-{len(rounds) + 1}"))
        except BudgetError as error:
            if rounds:
                break
            if len(students) == 1:
                raise UserError(
                    f"--budget_minutes {config.budget_minutes:g} is too small for a single student\n"
                    f"expected at least {math.ceil(claim.seconds / 60 + count * error.minutes)}"
                ) from None
            students, planned = students[: len(students) // 2], []
            count = rounds_of(len(students), more)
            logger.warning(f"the budget is too small for all candidates; training {', '.join(students)}")
            continue
        students = best_half(rounds[-1]["lines"])
    if len(rounds) < count:
        logger.warning(f"the budget is used up after {len(rounds)} of {count} rounds")
    return rounds


def rounds_of(students: int, more: bool) -> int:
    """The number of rounds; more: there are additional rows, and a final round trains without them."""
    return int(math.log2(students)) + 1 + more


def share(left: int, more: bool) -> float:
    """The share of the remaining time for the next of `left` rounds: the winner's last training takes twice as long as the rounds before.

    more: the final round, without the additional rows, takes as long as the last one with them.
    """
    doubled = min(left, 1 + more)
    return (2 if left <= doubled else 1) / (left + doubled)


def _round(config: AutoConfig, part: dict, length: int, folder: Path) -> dict:
    """The record of a comparison, which is trained unless it is finished."""
    path, kind = folder / "compare.json", {"more_rows": part["more_rows"]}
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"lines": []}
    if known["lines"] and all(line["scores"] for line in known["lines"]):
        return known | kind
    data = _data_of(config, CompareConfig)
    if not part["more_rows"]:
        data = {name: value for name, value in data.items() if name not in _MORE_ROWS}
    options = CompareConfig(
        **data, teacher_path=config.teacher_path, students=part["students"], methods=[METHOD], seeds=[config.seed],
        budget_minutes=max(0.01, part["minutes"]), learning_rate=config.learning_rate, max_seq_length=length, device=config.device,
        threads=config.threads, output_dir=folder, resume=True,
    )  # fmt: skip
    return compare(options).record | kind


def best_line(rounds: list[dict]) -> dict:
    """The line with the best score, from the latest round that has it."""
    return max((line for part in reversed(rounds) for line in part["lines"] if line["scores"]), key=lambda line: line["mean"])


def best_half(lines: list[dict]) -> list[str]:
    """The students in the better half of the lines, rounded down, at least one.

    Raises:
        UserError: no line has a score.
    """
    done = sorted((line for line in lines if line["scores"]), key=lambda line: -line["mean"])
    if not done:
        raise UserError(f"every run failed: {lines[0]['error']}")
    return [line["student"] for line in done[: max(1, len(lines) // 2)]]


def _rounds_table(rounds: list[dict], metric: str) -> str:
    """All candidates: one line per student, one column per round."""
    names = [line["student"] for line in rounds[0]["lines"]]
    scores = [{line["student"]: line for line in part["lines"]} for part in rounds]

    def cell(line: dict | None) -> str:
        return "" if line is None else f"{line['mean']:.2f}" if line["scores"] else "failed"

    rows = [[name, *(cell(part.get(name)) for part in scores)] for name in names]
    mixed = any(part["more_rows"] for part in rounds)
    heads = [
        f"{metric}, {part['updates']:,} updates{' on the labelled rows alone' if mixed and not part['more_rows'] else ''}"
        for part in rounds
    ]
    return markdown_table(["student", *heads], rows)


def _closing(rounds: list[dict], winner: str, score: float, metric: str) -> list[str]:
    """The best student, and the expected gain from a larger budget."""
    said = [f"best student within the limits: {winner}, {metric} {score:.2f} as exported; teacher: {rounds[-1]['teacher']['score']:.2f}"]
    *_, last = rounds
    if any(part["more_rows"] for part in rounds) and not last["more_rows"]:
        before, plain = (part["lines"][0]["mean"] for part in rounds[-2:])
        said.append(f"with the additional rows {before:.2f}, on the labelled rows alone {plain:.2f}, in the same time")
        rounds = rounds[:-1]
    history = [(part["updates"], line["mean"]) for part in rounds for line in part["lines"] if line["student"] == winner and line["scores"]]
    if len(history) > 1:
        (updates, before), (more, after) = history[-2:]
        rose = f"the score rose by {after - before:.2f} points: twice the budget may bring at most about as much"
        fell = "the score did not rise: more text or another start of the student may bring more than time"
        said.append(f"from {updates:,} to {more:,} updates {rose if after > before else fell}")
    return said
