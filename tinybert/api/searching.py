"""Searching for a student within limits, and for the options of a run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinybert import storage
from tinybert.api.data import Data
from tinybert.api.methods import Method
from tinybert.api.models import Model, load
from tinybert.api.procedures import distill_options
from tinybert.api.process import run_command
from tinybert.api.teachers import teachers_of
from tinybert.api.training import Training


@dataclass(frozen=True)
class Found:
    """What a search has found. record: the content of `auto.json` or `search.json`. scores: of the best model, as fractions of 1."""

    output: Path
    record: dict
    scores: dict[str, float]
    best_folder: Path

    @property
    def best(self) -> Model:
        """The best model; that of `tb.auto` is exported and predicts with its engine."""
        return load(self.best_folder)


def auto(teacher: object, data: Data, *, output_dir: str | Path, resume: bool = False, overwrite: bool = False, **options: object) -> Found:
    """Find, train and export the best student within limits, as measured on this machine.

    teacher: anything `tb.load` accepts. options: any other option of `tinybert auto`, such as `max_ms=3`, `max_mb=20`,
    `budget_minutes=60`, `students=["teacher:2,4", "4x312"]`.

    Raises:
        UserError: an argument that the command line would also reject, no student is within the limits, or every run failed.
        Interrupted: SIGINT or SIGTERM; continue with `resume=True`.
    """
    values = {**data.options, "teacher_path": str(load(teacher).path), **_of_the_folder(output_dir, resume, overwrite), **options}
    result = run_command("auto", values)
    return Found(result.output, dict(result.record), dict(result.scores), result.best)


def search(
    teacher: object,
    student: object,
    data: Data,
    *,
    space: Sequence[str],
    output_dir: str | Path,
    method: Method | None = None,
    training: Training | None = None,
    trials: int = 20,
    budget_minutes: float | None = None,
    seed: int = 42,
    resume: bool = False,
    overwrite: bool = False,
    **options: object,
) -> Found:
    """Search for the best options of a distillation with Optuna (extra `search`); each trial is a run in its own process.

    space: for each option `NAME=LOW..HIGH`, `NAME=LOW..HIGH:log` or `NAME=VALUE,VALUE`. trials: number of runs, earlier calls included.
    budget_minutes: no run starts later. seed: of the search. The other arguments are those of `tb.distill`. The options of the best run
    are in `output_dir`/best.json.

    Raises:
        UserError: an argument that the command line would also reject, or every run failed.
        Interrupted: SIGINT or SIGTERM; continue with `resume=True`.
    """
    given = distill_options(teachers_of(teacher), student, data, method, options)
    base = {**given, **({} if training is None else training.options), **options}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "base.json"
        storage.write_file(path, json.dumps(base, default=str))
        values = {"base": path, "space": list(space), "trials": trials, "budget_minutes": budget_minutes, "seed": seed}
        result = run_command("search", {**values, **_of_the_folder(output_dir, resume, overwrite)})
    return Found(Path(result.output), dict(result.record), dict(result.scores), result.best)


def _of_the_folder(output_dir: str | Path, resume: bool, overwrite: bool) -> dict[str, object]:
    switches = {"resume": resume, "overwrite_output_dir": overwrite}
    return {"output_dir": Path(output_dir), **{name: True for name, given in switches.items() if given}}
