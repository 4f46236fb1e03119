"""Comparing students and methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybert.api.data import Data
from tinybert.api.models import Model, load
from tinybert.api.process import run_command


@dataclass(frozen=True)
class Comparison:
    """A finished comparison; a notebook shows its table. record: the content of `compare.json`."""

    output: Path
    record: dict
    best_folder: Path

    @property
    def best(self) -> Model:
        """The student with the best score."""
        return load(self.best_folder)

    @property
    def table(self) -> str:
        """The table as Markdown."""
        return (self.output / "report.md").read_text(encoding="utf-8")

    def _repr_markdown_(self) -> str:
        return self.table


def compare(
    teacher: object,
    data: Data,
    *,
    output_dir: str | Path,
    students: Sequence[str] = ("4x312",),
    methods: Sequence[str] = ("none", "logits", "tinybert"),
    resume: bool = False,
    overwrite: bool = False,
    **options: object,
) -> Comparison:
    """Train every combination of student, method and seed with the same number of updates, each in its own process, and compare them.

    teacher: anything `tb.load` accepts. students: folders or names, layers of the teacher (`teacher:2,4,6`), or new shapes (`4x312`).
    options: any other option of `tinybert compare`, such as `seeds=[1, 2, 3]`, `updates=500`, `budget_minutes=30`.

    Raises:
        UserError: an argument that the command line would also reject, or every run failed.
        Interrupted: SIGINT or SIGTERM; continue with `resume=True`.
    """
    values = {
        **data.options,
        "teacher_path": str(load(teacher).path),
        "students": list(students),
        "methods": list(methods),
        "output_dir": str(output_dir),
        **({"resume": True} if resume else {}),
        **({"overwrite_output_dir": True} if overwrite else {}),
        **options,
    }
    result = run_command("compare", values)
    return Comparison(result.output, dict(result.record), result.best)
