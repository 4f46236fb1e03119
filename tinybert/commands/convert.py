"""Writing a model in another format."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import in_models, in_run
from tinybert.config.options import Config


@command("convert", summary="convert a model to another layout or to a program for serving", recipe="convert:convert")
class ConvertConfig(Config):
    """Convert a model to Hugging Face's or PaddleNLP's layout or to a Paddle Inference program, and verify that the result is identical."""

    GROUPS = ("models", "run")

    model_path: str = in_models(help="folder or name of the model; for the output folder of a run, its best model is used")
    to: str = in_models(help="layout to write", choices=("huggingface", "paddlenlp", "inference"))
    output_dir: Path = in_run(help="output folder")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier model in output_dir")
