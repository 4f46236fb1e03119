"""A trained model for other engines: written, scored through the written file, loaded again in a new process, timed."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.export import ExportConfig
from tinybert.data.custom_files import joined_labels
from tinybert.data.places import locate
from tinybert.deploy.engine import FORMATS, RECORD
from tinybert.deploy.export import ExportOptions, export_model
from tinybert.deploy.model_card import as_text, table
from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.configuration import labels_of, read_config, trained_on
from tinybert.models.hub import resolve
from tinybert.recipes.result import Result
from tinybert.recipes.task_data import task_of


def export(config: ExportConfig) -> Result:
    """Write `--model_path` to `--output_dir`, and print what every file scores and costs."""
    output = Path(config.output_dir).expanduser()
    _check_output(config, output)
    task = task_of(_with_known(config))
    options = ExportOptions(
        formats=FORMATS if "all" in config.format else tuple(dict.fromkeys(config.format)),
        precisions=tuple(dict.fromkeys(config.precision)),
        max_drop=config.max_drop,
        allow_drop=config.allow_drop,
        calibration_rows=config.calibration_rows,
        prune_vocabulary=config.prune_vocabulary,
        threads=config.threads,
        max_seq_length=config.max_seq_length,
    )
    logger.info(f"exporting {config.model_path} to {', '.join(f'{form} {precision}' for form, precision in options.pairs())}")
    everything = export_model(
        config.model_path,
        output,
        task,
        lambda task, splits: locate(task, config.data_dir, config.glue_dir, splits),
        options,
        replace=config.overwrite_output_dir,
    )
    lines = [{"engine": one.engine, "precision": one.precision, "measures": one.measures} for one in everything]
    logger.info(as_text(table(lines)))
    logger.info(f"written: {output}")
    return Result(output, record={"exports": lines})


def _with_known(config: ExportConfig) -> ExportConfig:
    """The task and, for files of one's own, the labels from the model's folder, where they are not given.

    Raises:
        UserError: nobody says which task it is.
    """
    known = read_config(resolve(config.model_path))
    task = config.task_name or trained_on(known).task
    if task is None:
        raise UserError(
            "--task_name is missing: the model's folder does not say which task it was trained on.\nName it, or give --dev_file."
        )
    own = config.train_file is not None or config.dev_file is not None
    labels = labels_of(known)
    if own and config.labels is None and labels:
        return config.replace(task_name=task, labels=joined_labels(labels))
    return config.replace(task_name=task)


def _check_output(config: ExportConfig, output: Path) -> None:
    """Refuse to replace anything but an earlier export, and that only where it is asked for."""
    if output.is_file():
        raise UserError(f"--output_dir {output} is a file. Name a folder.")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not config.overwrite_output_dir:
        raise UserError(f"--output_dir {output} is not empty. Name another folder, or replace it with --overwrite_output_dir.")
    if not (output / RECORD).is_file():
        raise UserError(
            f"--output_dir {output} holds something else than an export (no {RECORD}): it is not replaced. Name another folder."
        )
