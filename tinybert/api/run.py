"""The results of a run, read from its folder: scores, curves, records and models."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.api.models import Model
from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinybert.api.data import Data


class Run:
    """A finished or interrupted run in its output folder.

    folder: the output folder. stages: the trained stages, in order. record: run.json, one entry per stage: settings with their
    sources, models, data, versions, times. teacher: the teacher model, None if there was none.
    """

    def __init__(self, folder: str | Path, teacher: Model | None = None, best: Path | None = None, data: Data | None = None) -> None:
        self.folder, self.teacher, self._best, self._data = Path(folder), teacher, best, data
        self.record = RunFolder(self.folder, "").record()
        self.stages = tuple(stage for stage, entry in self.record.items() if "total_steps" in entry)
        if not self.stages:
            raise UserError(f"{self.folder} contains no training run\nexpected the output folder of a run, with its run.json")

    @property
    def scores(self) -> dict[str, float]:
        """The best evaluation of the last stage, by metric, as fractions of 1; empty if it was not finished."""
        best = self.record[self.stages[-1]].get("best") or {}
        return {name: value for name, value in best.items() if name != "step"}

    @cached_property
    def model(self) -> Model:
        """The best model.

        Raises:
            UserError: there is none.
        """
        return Model(self._best or self.folder, self._data)

    @property
    def student(self) -> Model:
        """The best model, if it is a student."""
        return self.model

    @property
    def history(self) -> list[dict]:
        """The lines of log.jsonl: `stage`, `step` and numbers by name; evaluations also have `event`. Can be passed to
        `pandas.DataFrame`."""
        return RunFolder(self.folder, "").log_lines()

    def curves(self) -> Figure:
        """Loss terms, scores and learning rate over steps, one row of panels per stage; a notebook shows it."""
        from tinybert.report.plots import curves_of

        return curves_of(self.folder, self.stages)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.scores.items())
        return f"Run({self.folder}: {', '.join(self.stages)}{f'; {scores}' if scores else ''})"


def open_run(folder: str | Path) -> Run:
    """Open an existing run, made by a command or from Python.

    Raises:
        UserError: the folder contains no run.
    """
    return Run(folder)
