"""The options of commands that evaluate a trained model on labelled rows."""

from __future__ import annotations

from pathlib import Path

from tinybert.config.dialects import HF
from tinybert.config.groups import in_data
from tinybert.config.options import Alias
from tinybert.config.rows import RowOptions
from tinybert.kinds.registry import METRICS


class ScoringOptions(RowOptions):
    """The rows on which a trained model is evaluated."""

    task_name: str | None = in_data(
        None, help="task whose dev set is used; any name for your own files", unset="the task that the model was trained on"
    )
    dev_file: Path | None = in_data(None, help="your own labelled rows for evaluation", alias=(Alias("validation_file", HF),))
    metric: str | None = in_data(None, help="metric of the comparison", choices=METRICS, unset="the task's")
