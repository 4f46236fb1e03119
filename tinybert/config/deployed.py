"""Options of commands that run a trained model."""

from __future__ import annotations

from tinybert.config.groups import in_models, threads_option
from tinybert.config.options import Config


class DeployedModel(Config):
    """The model to run, its maximum length and its number of threads."""

    model_path: str = in_models(help="folder of a model or an export; for the output folder of a run, its best model is used")
    max_seq_length: int | None = in_models(
        None, help="maximum tokens per row, including [CLS] and [SEP]; longer rows are truncated", unset="as in training", at_least=4
    )
    threads: int | None = threads_option()
