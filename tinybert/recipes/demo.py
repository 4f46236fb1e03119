"""The whole workflow on a small scale: fine-tune a teacher, distil a student in two stages, train the same student without it, compare.

Runs in minutes on two cores with the bundled data and teacher, or on a GLUE task.
Limits: one seed and few updates; it shows that everything works, while `benchmark/glue` measures how well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinybert import runtime, storage
from tinybert.commands.demo import DemoConfig
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.config.options import Config
from tinybert.data.tasks import Task, get_task
from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import DataEntry, RunRecord, now, write_record
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.loading import LoadedModel, load_classifier
from tinybert.models.trace import Inputs
from tinybert.recipes.evaluate import score
from tinybert.recipes.finetune import finetune
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.result import Result
from tinybert.recipes.task_data import TaskData
from tinybert.recipes.task_distill import task_distill
from tinybert.report.latency import sampled, side_by_side
from tinybert.report.table import markdown_table

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Budget:
    """Updates of each part, with batches of 32 rows; the student without a teacher gets as many as both stages together."""

    teacher: int
    intermediate: int
    prediction: int


# the demo data has 22 batches per epoch; a GLUE task gets a fixed number of updates, whatever its size
BUDGETS = {"demo": Budget(110, 330, 132), "glue": Budget(300, 400, 200), "quick": Budget(4, 4, 4)}


def demo(config: DemoConfig) -> Result:
    """Run the workflow end to end and print one table; all results stay in the output folder."""
    started = time.monotonic()
    task = get_task(config.task_name)
    output = Path(config.output_dir)
    if (output / "report.md").exists() and not config.overwrite_output_dir:
        raise UserError(
            f"{output} already contains the results of a demo.\nReplace them with --overwrite_output_dir, or choose another folder."
        )
    budget = BUDGETS["quick" if config.quick else "demo" if task.name == "demo" else "glue"]
    runtime.set_device(config.device)
    folders = {"teacher": output / "teacher", "distilled student": output / "student", "same student, no teacher": output / "no_teacher"}
    check_inputs_not_overwritten(config, folders.values())
    common = {
        "task_name": task.name,
        "overwrite_output_dir": True,
        "seed": config.seed,
        "device": config.device,
        "logging_steps": max(1, min(20, budget.teacher // 4)),
        "save_steps": 22 if task.name == "demo" else 100,
    }
    _title("1/4 fine-tune the teacher")
    _run(
        finetune,
        FinetuneConfig,
        **common,
        model_name_or_path=config.model,
        max_steps=budget.teacher,
        learning_rate=1e-4,
        output_dir=folders["teacher"],
    )
    layers = load_classifier(str(folders["teacher"] / "final"), labels=task.labels, needs_head=True).config.num_hidden_layers
    student = {**common, "teacher_path": str(folders["teacher"] / "final"), "student_init": every_second_layer(layers)}
    _title("2/4 distil the student: hidden states and attention, then logits")
    _run(
        task_distill,
        TaskDistillConfig,
        **student,
        allow_weak_teacher=config.quick,  # a few updates do not make a teacher
        stage="both",
        intermediate_max_steps=budget.intermediate,
        prediction_max_steps=budget.prediction,
        learning_rate=1e-4,
        output_dir=folders["distilled student"],
    )
    student["teacher_path"] = config.model  # the pre-trained layers: this student must not contain anything from the fine-tuned teacher
    _title("3/4 train the same student without a teacher, with as many updates")
    _run(
        task_distill,
        TaskDistillConfig,
        **student,
        method="none",
        max_steps=budget.intermediate + budget.prediction,
        learning_rate=1e-4,
        output_dir=folders["same student, no teacher"],
    )
    _title("4/4 compare")
    table, figures = _compare(task, folders)
    _report(task, output, config.seed, table, figures, round((time.monotonic() - started) / 60, 2))
    scores = figures["rows"]["distilled student"]
    return Result(output, {task.metric: scores[task.metric]}, record=figures)


def every_second_layer(layers: int) -> str:
    """`teacher:2,4,6` for six layers: the ends of the blocks compared by the uniform map."""
    return "teacher:" + ",".join(str(layer) for layer in range(layers, 0, -2)[::-1])


def _run(recipe: Callable[[C], object], kind: type[C], **values: object) -> None:
    recipe(kind(**values))


def _title(text: str) -> None:
    logger.info(f"\n=== {text} ===")


def _compare(task: Task, folders: dict[str, Path]) -> tuple[str, dict]:
    models: dict[str, LoadedModel] = {
        # the final models, not the best on dev, which would favour the run that was evaluated most often
        name: load_classifier(str(folder / "final"), labels=task.labels, needs_head=True, role=name)
        for name, folder in folders.items()
    }
    first = next(iter(models.values()))
    length = 64 if not task.is_pair else 128
    data = TaskData.find(task, _Places(), list(task.eval_splits), first.tokenizer, length)
    stores = {split: data.store(split) for split in task.eval_splits}
    dev = stores[task.eval_splits[0]]
    rows = [Inputs.of(batch) for batch in sampled(dev)]
    latency = side_by_side({name: loaded.model for name, loaded in models.items()}, rows)
    figures: dict = {"rows": {}, "latency_rows": len(rows)}
    lines = []
    slowest = latency["teacher"]
    for name, loaded in models.items():
        scores = score(loaded, data, stores, 64)
        size = os.path.getsize(loaded.report.source) / 1e6
        lines.append(
            [
                name,
                f"{scores[task.metric]:.4f}",
                f"{loaded.parameters() / 1e6:.1f} M",
                f"{size:.1f} MB",
                f"{latency[name]:.2f} ms",
                f"{slowest / latency[name]:.1f} x",
            ]
        )
        figures["rows"][name] = {
            **scores,
            "parameters": loaded.parameters(),
            "encoder_parameters": _encoder_parameters(loaded),
            "megabytes": round(size, 2),
            "milliseconds": round(latency[name], 3),
            "folder": loaded.report.source,
        }
    header = ["model", f"dev {task.metric}", "parameters", "on disk", "a sentence", "speed"]
    return markdown_table(header, lines), figures


def _encoder_parameters(loaded: LoadedModel) -> int:
    return sum(int(parameter.size) for name, parameter in loaded.model.named_parameters() if ".encoder." in name)


def _report(task: Task, output: Path, seed: int, table: str, figures: dict, minutes: float) -> None:
    """Write report.json and report.md, and print the table."""
    data = RunFolder(output / "teacher", "finetune").record()["finetune"]["data"]
    figures |= {"minutes": minutes, "seed": seed, "versions": runtime.versions(), "task": task.name, "data": data}
    storage.write_json(output / "report.json", figures)
    comparison = RunRecord(
        "comparison",
        finished=now(),
        seconds=60 * minutes,
        versions=runtime.versions(),
        threads=runtime.threads(),
        data={split: DataEntry(**entry) for split, entry in data.items()},
        details={"scores": figures["rows"], "seed": seed},
    )
    write_record(output, "comparison", comparison)
    note = (
        f"{task.name}, dev {task.metric} of the last models, seed {seed}; latency: median over {figures['latency_rows']} dev "
        f"rows, one at a time, models alternating, {runtime.threads()} threads. One seed and a small dev set: differences of "
        "a few points are noise."
    )
    storage.write_file(output / "report.md", f"{table}\n\n{note}\n\nTook {minutes} minutes.\n")
    logger.info(f"{table}\n\n{note}\ncurves: {output}/*/plots/*.png, or `visualdl --logdir {output}`; report: {output / 'report.md'}")
    logger.info(f"took {minutes} minutes")


class _Places:
    """No explicit folders: data is searched in the default locations."""

    data_dir = None
    glue_dir = None
