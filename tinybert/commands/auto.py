"""The options of `auto`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from tinybert.commands.compare import read_students
from tinybert.commands.export import FORMATS, PRECISIONS
from tinybert.commands.registry import command
from tinybert.config.custom_files import check_custom_files
from tinybert.config.groups import in_models, in_run
from tinybert.config.notices import Notice
from tinybert.config.options import option
from tinybert.config.rows import DataOptions
from tinybert.config.runs import Actions, DeviceOptions
from tinybert.errors import UserError

in_limits = partial(option, group="limits")


@command("auto", summary="find, train and export the best student within limits of latency, size and time", recipe="auto:auto")
class AutoConfig(DataOptions, DeviceOptions):
    """Measure candidate students as exported files, train those within the limits by successive halving, and export the best one."""

    GROUPS: ClassVar[tuple[str, ...]] = ("models", "limits", "data", "run")

    teacher_path: str = in_models(help="folder of the fine-tuned teacher")
    students: list[str] | None = in_models(
        None,
        help="candidates: layers of the teacher (teacher:2,4,6), shapes (LAYERSxHIDDEN) or folders",
        unset="from the teacher's shape",
    )
    format: str = in_limits("paddle", help="engine of the exported student", choices=FORMATS[:-1])
    precision: str = in_limits("float32", help="numeric precision of the exported student", choices=PRECISIONS)
    max_ms: float | None = in_limits(None, help="maximum milliseconds for a single row, tokenisation included", unset="no limit", above=0)
    max_mb: float | None = in_limits(None, help="maximum size in MB", unset="no limit", above=0)
    budget_minutes: float = in_limits(60.0, help="time limit in minutes for measuring and training, earlier calls included", above=0)
    learning_rate: float = in_limits(3e-4, help="peak learning rate of every run", above=0)
    seed: int = in_run(42, help="random seed", at_least=0)
    output_dir: Path = in_run(help="output folder for auto.json, the export, pareto.png and the comparisons")
    overwrite_output_dir: bool = in_run(False, help="replace earlier results in output_dir")
    resume: bool = in_run(False, help="resume an interrupted call; finished measurements and runs are kept")
    max_seq_length: int | None = option(None, group="data", help="maximum tokens per example", unset="64, pairs 128", at_least=4)

    def check(self) -> list[Notice]:
        """Reject malformed candidates and contradictory data options."""
        if (self.format, self.precision) == ("openvino", "int8"):
            raise UserError("--precision int8 for OpenVINO is calibrated on a trained model\ngive --format onnx, or --precision bfloat16")
        self.refuse_both("resume", "overwrite_output_dir")
        if self.students:
            vars(self)["students"] = read_students(self.students)
        return [*super().check(), *check_custom_files(self, Actions(train=True, evaluate=True, predict=False))]
