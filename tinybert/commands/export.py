"""The options of `export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from tinybert.commands.registry import command
from tinybert.config.distilling import in_models
from tinybert.config.groups import in_run, threads_option
from tinybert.config.options import option
from tinybert.config.scoring import ScoringOptions

in_export = partial(option, group="export")
FORMATS = ("paddle", "onnx", "openvino", "all")
PRECISIONS = ("float32", "bfloat16", "int8")


@command("export", summary="write a model for Paddle Inference, ONNX or OpenVINO, scored and measured", recipe="export:export")
class ExportConfig(ScoringOptions):
    """Write a trained model for Paddle Inference, ONNX or OpenVINO, scored through the written file and measured beside the model."""

    GROUPS: ClassVar[tuple[str, ...]] = ("models", "export", "data", "run")

    model_path: str = in_models(help="the folder of the model; the output folder of a run means its best model")
    max_seq_length: int | None = in_models(
        None, help="word pieces per row, [CLS] and [SEP] included; longer ones are cut", unset="as the model was trained", at_least=4
    )
    format: list[str] = in_export(["onnx"], help="the engines to write for; all: every one", choices=FORMATS)
    precision: list[str] = in_export(
        ["float32"],
        help="the numbers to compute with; onnx int8: dynamic, openvino int8: calibrated; bfloat16: paddle and openvino",
        choices=PRECISIONS,
    )
    max_drop: float = in_export(0.5, help="points of the task's metric that a file may lose; with more it is not written", at_least=0)
    allow_drop: bool = in_export(False, help="write files that lose more than max_drop too")
    calibration_rows: int = in_export(300, help="training rows that openvino int8 is calibrated on", at_least=1, at_most=100_000)
    prune_vocabulary: bool = in_export(False, help="leave out word pieces that occur in no training row; words that need them are [UNK]")
    output_dir: Path = in_run(help="the folder of the export; several get a folder each in it")
    overwrite_output_dir: bool = in_run(False, help="replace an earlier export in output_dir")
    threads: int | None = threads_option()
