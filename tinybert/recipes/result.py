"""The return value of recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinybert.engine.run_folder import RunFolder


@dataclass(frozen=True)
class Result:
    """The location of the results, the scores, and the record of the run.

    output: the folder or file that was written. scores: of the best evaluation, by metric. best, final: the folders of the best and
    the final model, None without training. record: run.json, one entry per stage.
    """

    output: Path
    scores: Mapping[str, float] = field(default_factory=dict)
    best: Path | None = None
    final: Path | None = None
    record: Mapping[str, object] = field(default_factory=dict)


def result_of(run: RunFolder, best: str, final: str) -> Result:
    """The result of a finished stage. `best` and `final`: its folders, where `best` may be a pattern."""
    record = run.record()
    scores = {name: value for name, value in (record.get(run.stage, {}).get("best") or {}).items() if name != "step"}
    found = sorted(run.path.glob(best))
    return Result(run.path, scores, found[-1] if found else None, run.path / final, record)
