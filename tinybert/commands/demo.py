"""The demo."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.groups import in_data, in_models, in_run
from tinybert.config.runs import DeviceOptions


@command("demo", summary="fine-tune and distil small models on the bundled data", recipe="demo:demo")
class DemoConfig(DeviceOptions):
    """Fine-tune a small teacher and distil it, on the bundled demo data."""

    task_name: str = in_data("demo", help="the task")
    model: str = in_models("all-minilm-l6-v2", help="folder or name of the pre-trained model for the teacher")
    output_dir: Path = in_run(Path("runs/demo"), help="output folder")
    overwrite_output_dir: bool = in_run(False, help="replace earlier results")
    quick: bool = in_run(False, help="run only a few updates per stage, as a smoke test")
    seed: int = in_run(42, help="random seed for sampling, dropout and new weights", at_least=0)
