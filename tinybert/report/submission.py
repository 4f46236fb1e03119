"""Files for the GLUE server: index and prediction, one file a test split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.tasks import Task

_NAMES = {"test": "", "test_matched": "-m", "test_mismatched": "-mm"}


def submission_path(folder: Path, task: Task, split: str) -> Path:
    """Where the predictions of one test split go: `<TASK>.tsv`, for MNLI `MNLI-m.tsv` or `MNLI-mm.tsv`."""
    return folder / f"{task.name}{_NAMES.get(split, '-' + split)}.tsv"


def write_submission(
    folder: Path, task: Task, split: str, ids: list[str] | None, logits: np.ndarray, decision: dict[str, float] | None = None
) -> Path:
    """Write the predictions of one test split, `logits [N, C]`."""
    answers = task.kind.answers(task, logits, decision)
    names = ids or [str(i) for i in range(len(answers))]
    lines = ["index\tprediction", *(f"{index}\t{answer}" for index, answer in zip(names, answers, strict=True))]
    folder.mkdir(parents=True, exist_ok=True)
    path = submission_path(folder, task, split)
    storage.write_file(path, "\n".join(lines) + "\n")
    return path
