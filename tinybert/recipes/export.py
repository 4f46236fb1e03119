"""Exports a trained model to other engines: written, evaluated, reloaded in a new process, timed."""

from __future__ import annotations

from pathlib import Path

from tinybert.commands.export import ExportConfig
from tinybert.data.places import locate
from tinybert.deploy.engine import FORMATS, RECORD
from tinybert.deploy.export import ExportOptions, export_model
from tinybert.deploy.model_card import table
from tinybert.log import logger
from tinybert.recipes.input_protection import check_inputs_not_overwritten
from tinybert.recipes.output_folder import check_replaceable
from tinybert.recipes.result import Result
from tinybert.recipes.scored_task import scored_task


def export(config: ExportConfig) -> Result:
    """Export `--model_path` to `--output_dir`, and print scores and costs of every file.

    Raises:
        UserError: an input in the output folder, files of others there, or an export that is refused.
    """
    output = Path(config.output_dir).expanduser()
    check_inputs_not_overwritten(config, [output])
    check_replaceable(output, config.overwrite_output_dir, "an export", RECORD)
    task = scored_task(config, config.model_path)
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
    logger.info(table(lines))
    logger.info(f"written: {output}")
    return Result(output, record={"exports": lines})
