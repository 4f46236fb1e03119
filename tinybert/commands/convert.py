"""Writing a model in another layout."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.distilling import (
    in_models,
)
from tinybert.config.groups import (
    in_run,
)
from tinybert.config.options import Config


@command("convert", summary="write a model in another layout, or as a program for serving", recipe="convert:convert")
class ConvertConfig(Config):
    """Write a model in Hugging Face's or PaddleNLP's layout or as a program for Paddle Inference, and prove that both are the same."""

    GROUPS = ("models", "run")

    model_path: str = in_models(help="the folder or name of the model; the output folder of a run means its best model")
    to: str = in_models(help="the layout to write", choices=("huggingface", "paddlenlp", "inference"))
    output_dir: Path = in_run(help="the folder of the result")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier model in output_dir")
