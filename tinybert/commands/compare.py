"""The options of `compare`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.custom_files import check_custom_files
from tinybert.config.groups import in_models, in_run
from tinybert.config.notices import Notice
from tinybert.config.options import option
from tinybert.config.rows import DataOptions
from tinybert.config.runs import Actions, ClusterOptions, DeviceOptions
from tinybert.errors import UserError

in_plan = partial(option, group="comparison")


@command(
    "compare", summary="train students with several methods and equal updates; writes a table, plots and a page", recipe="compare:compare"
)
class CompareConfig(DataOptions, DeviceOptions, ClusterOptions):
    """Train all combinations of students, methods and seeds with equal numbers of updates; compare score, retention, size and latency."""

    GROUPS = ("models", "comparison", "data", "run")

    teacher_path: str = in_models(help="folder of the fine-tuned teacher")
    students: list[str] = in_models(
        ["4x312"],
        help="students: folders or names, teacher layers (teacher:2,4,6), or new shapes (LAYERSxHIDDEN, such as 4x312)",
    )
    methods: list[str] = in_plan(
        ["none", "logits", "tinybert"],
        help="methods of --method, and pruned: the teacher with half of its heads and neurons, distilled like tinybert",
    )
    seeds: list[int] = in_plan([42], help="seeds; every combination is run once per seed", at_least=0)
    updates: int | None = in_plan(
        None, help="number of updates per run, both stages together", unset="from budget_minutes, else 3 epochs", at_least=3
    )
    budget_minutes: float | None = in_plan(
        None, help="time limit for all runs in minutes; the number of updates is estimated from a short run", unset="no limit", above=0
    )
    learning_rate: float = in_plan(1e-4, help="peak learning rate of every run", above=0)
    batch_size: int = in_plan(32, help="rows per update", at_least=1)
    parallel: int = in_run(1, help="number of parallel runs, which share the threads", at_least=1, at_most=64)
    output_dir: Path = in_run(help="output folder for compare.json, report.html, pareto.png and the runs")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier comparison in output_dir")
    resume: bool = in_run(False, help="resume an interrupted comparison and retry failed runs")
    max_seq_length: int | None = option(None, group="data", help="maximum tokens per example", unset="64, pairs 128", at_least=4)

    def check(self) -> list[Notice]:
        """Reject unknown methods, malformed students, and contradictory options."""
        from tinybert.compare.plan import method_names

        for method in self.methods:
            if method not in method_names():
                raise UserError(f"--methods got {method!r}\nexpected one or more of {', '.join(method_names())}")
        vars(self)["students"] = read_students(self.students)
        if len(set(self.seeds)) < len(self.seeds):
            raise UserError("--seeds contains a duplicate\ngive each only once")
        if self.aug_file is not None and not self.use_aug:
            raise UserError("--aug_file is only used with --use_aug\nadd --use_aug, or leave out the file")
        self.refuse_both("resume", "overwrite_output_dir")
        self.refuse_both("updates", "budget_minutes")
        return [*super().check(), *check_custom_files(self, Actions(train=True, evaluate=True, predict=False))]


def read_students(pieces: Sequence[str]) -> list[str]:
    """The students in `--students`, where commas may also separate the layers of one student.

    Raises:
        UserError: malformed layers, or a duplicate.
    """
    joined: list[str] = []
    for piece in pieces:
        if joined and re.fullmatch(r"\d+", piece) and re.fullmatch(r"teacher:\d+(,\d+)*", joined[-1]):
            joined[-1] += f",{piece}"
        else:
            joined.append(piece)
    for student in joined:
        if student.startswith("teacher:") and not re.fullmatch(r"teacher:\d+(,\d+)*", student):
            raise UserError(f"--students got {student!r}\nexpected layers of the teacher such as teacher:2,4,6")
    if len(set(joined)) < len(joined):
        raise UserError("--students contains a duplicate\ngive each only once")
    return joined
