"""Options of commands that train on raw text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinybert.config.groups import in_data, in_run
from tinybert.config.optimisation import OptimisationOptions
from tinybert.config.runs import TrainingRunOptions


class TextOptions(TrainingRunOptions, OptimisationOptions):
    """Options for raw text: how it is split into rows, and how often the model is evaluated."""

    PRESET_SECTION = "distill"

    input_dir: Path | None = in_data(help="raw text: a file, a folder or a pattern; tokenised once and cached")
    sequences: str | None = in_data(
        None,
        help="rows: packed with as many sentences of a document as fit, or one truncated row per line (lines)",
        choices=("packed", "lines"),
        setting=True,
    )
    max_seq_length: int | None = in_data(None, help="maximum tokens per row, including [CLS] and [SEP]", at_least=4, setting=True)
    do_lower_case: bool | None = in_data(None, help="lower-case the text", unset="from the tokenizer's config", setting=True)
    pad_to_max_length: bool | None = in_data(None, help="pad every batch to max_seq_length instead of to its longest row", setting=True)
    held_out_sequences: int = in_data(
        1000,
        help="number of rows held out at the end of each epoch's text; those of the first epoch select the best model",
        at_least=1,
        setting=True,
    )
    output_dir: Path = in_run(help="output folder")
    save_steps: int = replace(TrainingRunOptions.save_steps, default=1000)
