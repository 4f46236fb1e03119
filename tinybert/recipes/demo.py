"""The whole workflow on a small scale: fine-tune a teacher, distil a student on labelled and unlabelled text, compare, export.

Runs in minutes on two cores with the bundled data and teacher, or on a GLUE task.
Limits: few updates; it shows what distillation is good for, while `benchmark/glue` measures how well it works.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tinybert import devices, runtime, storage, temporaries
from tinybert.commands.compare import CompareConfig
from tinybert.commands.demo import DemoConfig
from tinybert.commands.export import ExportConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.config.options import Config
from tinybert.data.demo_rows import unlabelled_sentences
from tinybert.data.places import demo_folder
from tinybert.data.tasks import Task, get_task
from tinybert.deploy.predictor import Predictor
from tinybert.log import logger
from tinybert.recipes.compare import compare, keep_last_model
from tinybert.recipes.export import export
from tinybert.recipes.finetune import finetune
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.output_folder import claimed
from tinybert.recipes.result import Result

C = TypeVar("C", bound=Config)
STUDENT, AUGMENTED = "2x192", "train_aug.tsv"


@dataclass(frozen=True)
class Budget:
    """Updates of the teacher and of each student, the number of unlabelled sentences, and of seeds per student."""

    teacher: int
    student: int
    unlabelled: int
    seeds: int


BUDGETS = {"demo": Budget(110, 600, 5000, 3), "glue": Budget(300, 600, 0, 1)}


def demo(config: DemoConfig) -> Result:
    """Run the workflow end to end and print one table; all results stay in the output folder.

    Raises:
        UserError: the output folder contains other files, or a demo that may not be replaced.
    """
    task, output = get_task(config.task_name), Path(config.output_dir).expanduser()
    budget = BUDGETS["demo" if task.name == "demo" else "glue"]
    if config.quick:
        budget = replace(budget, teacher=4, student=4, unlabelled=min(20, budget.unlabelled), seeds=1)
    check_inputs_not_overwritten(config, [output / name for name in ("teacher", "compare", "export")])
    with claimed(config, "a demo", {}, (AUGMENTED,)) as claim:
        with _own_cache(output):
            compared = _train(config, task, budget, output)
        keep_last_model(output / "teacher")
        _keep_first_seeds(output / "compare")
        minutes = claim.seconds / 60
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e6
    if budget.unlabelled:
        logger.info(f"\nnone: only labelled rows; tinybert: plus {budget.unlabelled:,} sentences labelled only by the teacher")
    logger.info(f"report: {output / 'compare' / 'report.html'}\ntook {minutes:.1f} minutes; {output} takes {size:.0f} MB")
    return Result(output, compared.scores, best=compared.best, record=compared.record)


def _train(config: DemoConfig, task: Task, budget: Budget, output: Path) -> Result:
    """Teacher, comparison of students, export."""
    devices.set_device(config.device)
    common = {"task_name": task.name, "device": config.device, "threads": config.threads, "overwrite_output_dir": True}
    _title("1/4 fine-tune the teacher on the labelled rows")
    _run(
        finetune, FinetuneConfig, **common, model_name_or_path=config.model, max_steps=budget.teacher, learning_rate=1e-4,
        seed=config.seed, logging_steps=max(1, budget.teacher // 10), save_steps=max(1, budget.teacher // 5), output_dir=output / "teacher",
    )  # fmt: skip
    teacher = output / "teacher" / "final"
    _title(f"2/4 label {budget.unlabelled:,} sentences with the teacher")
    if budget.unlabelled:
        common |= {"use_aug": True, "aug_file": _labelled_by(teacher, task, budget.unlabelled, config.seed, output)}
    _title("3/4 train the student on labels only, and with the teacher")
    compared = _run(
        compare, CompareConfig, **common, teacher_path=teacher, students=[STUDENT], methods=["none", "tinybert"], updates=budget.student,
        seeds=list(range(config.seed, config.seed + budget.seeds)), learning_rate=1e-3, output_dir=output / "compare",
        parallel=min(2, config.threads or runtime.available_cores()),
    )  # fmt: skip
    _title("4/4 export the best student")
    exported = {name: value for name, value in common.items() if name not in ("device", "use_aug", "aug_file")}
    _run(export, ExportConfig, **exported, model_path=str(compared.best), format=["paddle"], output_dir=output / "export")
    return compared


@contextlib.contextmanager
def _own_cache(output: Path) -> Iterator[None]:
    """Store tokens and teacher traces in a new folder inside the output folder, and delete it afterwards."""
    storage.recover(output)  # caches of killed demos
    folder, before = temporaries.temporary_name(output.absolute() / "cache"), os.environ.get("TINYBERT_CACHE")
    folder.mkdir()
    os.environ["TINYBERT_CACHE"] = str(folder)
    try:
        with temporaries.writing(folder):
            yield
    finally:
        if before is None:
            del os.environ["TINYBERT_CACHE"]
        else:
            os.environ["TINYBERT_CACHE"] = before
        temporaries.remove(folder)


def _title(text: str) -> None:
    logger.info(f"\n=== {text} ===")


def _run(recipe: Callable[[C], Result], kind: type[C], **values: object) -> Result:
    return recipe(kind(**values))


def _labelled_by(teacher: Path, task: Task, count: int, seed: int, output: Path) -> Path:
    """The training rows, followed by sentences labelled by the teacher."""
    texts = unlabelled_sentences(count, seed)
    answers = Predictor.open(teacher).predict(texts)
    rows = [f"{text}\t{answer.label}\n" for text, answer in zip(texts, answers, strict=True)]
    path = output / AUGMENTED
    train = (demo_folder() / task.split("train").file).read_text(encoding="utf-8")
    storage.write_file(path, train + "".join(rows))
    return path


def _keep_first_seeds(comparison: Path) -> None:
    """Delete the models of all seeds except the first."""
    kept: set[str] = set()
    for final in sorted((comparison / "runs").glob("*/final")):
        name = final.parent.name.rpartition("-")[0]
        if name in kept:
            storage.remove_own(final)
        kept.add(name)
