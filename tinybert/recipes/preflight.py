"""Checks and preparations of a training recipe before it loads a model."""

from __future__ import annotations

from pathlib import Path

from tinybert import devices
from tinybert.config.options import Config
from tinybert.engine import checkpoint
from tinybert.engine.run_folder import RunFolder
from tinybert.recipes.input_protection import check_inputs_not_overwritten


def open_run(config: Config, output: str | Path, stage: str, folders: tuple[str, ...]) -> RunFolder:
    """The output folder of a stage, if it can be started or resumed; nothing is changed.

    folders: of its best and final model, as patterns.

    Raises:
        UserError: it contains other results, has no complete checkpoint to resume from, or inputs would be overwritten.
    """
    run = RunFolder(output, stage)
    run.check_existing_results(bool(config.resume), config.overwrite_output_dir, folders)
    if config.resume:
        checkpoint.find(run.checkpoints, config.resume)
    check_inputs_not_overwritten(config, run.replaced(folders))
    return run


def start_device(config: Config) -> None:
    """Set the requested device, and connect the processes of the run.

    Raises:
        UserError: there is no such device, or it does not support this precision.
    """
    devices.set_device(config.device)
    if config.amp:
        devices.check_precision(config.amp_dtype)
    devices.start_processes()
