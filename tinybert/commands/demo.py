"""The demo."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.distilling import (
    in_models,
)
from tinybert.config.groups import (
    DeviceOptions,
    in_data,
    in_run,
)


@command("demo", summary="fine-tune and distil in small, on the data that comes with the package", recipe="demo:demo")
class DemoConfig(DeviceOptions):
    """Fine-tune a small teacher and distil it, on the demo data that comes with the package."""

    task_name: str = in_data("demo", help="the task")
    model: str = in_models("all-minilm-l6-v2", help="the folder or name of the pre-trained model that becomes the teacher")
    output_dir: Path = in_run(Path("runs/demo"), help="the folder of the results")
    overwrite_output_dir: bool = in_run(False, help="replace earlier results")
    quick: bool = in_run(False, help="a few updates per stage: shows that everything works, not how well")
    seed: int = in_run(42, help="seed of sampling, dropout and fresh weights", at_least=0)
