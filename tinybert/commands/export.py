"""The options of `export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinybert.commands.registry import command
from tinybert.config.deployed import DeployedModel
from tinybert.config.groups import in_models, in_run
from tinybert.config.options import option
from tinybert.config.scoring import ScoringOptions

in_export = partial(option, group="export")
FORMATS = ("paddle", "onnx", "openvino", "all")
PRECISIONS = ("float32", "bfloat16", "int8")


@command("export", summary="export a model to Paddle Inference, ONNX or OpenVINO, with its score and latency", recipe="export:export")
class ExportConfig(ScoringOptions, DeployedModel):
    """Export a trained model to Paddle Inference, ONNX or OpenVINO; the exported file is evaluated and timed together with the model."""

    GROUPS = ("models", "export", "data", "run")

    model_path: str = in_models(help="folder of the model; for the output folder of a run, its best model is used")
    format: list[str] = in_export(["onnx"], help="target engines; all: every engine", choices=FORMATS)
    precision: list[str] = in_export(
        ["float32"],
        help="numeric precision; int8 is dynamic for onnx and calibrated for openvino; bfloat16 is available for paddle and openvino",
        choices=PRECISIONS,
    )
    max_drop: float = in_export(0.5, help="maximum loss in points of the task's metric; files that lose more are not written", at_least=0)
    allow_drop: bool = in_export(False, help="also write files that lose more than max_drop")
    calibration_rows: int = in_export(300, help="number of training rows for calibrating openvino int8", at_least=1, at_most=100_000)
    prune_vocabulary: bool = in_export(False, help="remove tokens that occur in no training row; words that need them become [UNK]")
    output_dir: Path = in_run(help="output folder; several exports get one subfolder each")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier export in output_dir")
