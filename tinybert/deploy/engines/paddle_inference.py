"""Paddle Inference programs: float32, or bfloat16 with oneDNN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinybert import runtime
from tinybert.deploy.engine import ExportSource, NamedInputs, differs
from tinybert.deploy.libraries import titled
from tinybert.errors import UserError
from tinybert.log import logger

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel

PRECISIONS = ("float32", "bfloat16")


class PaddleInference:
    """A loaded program; inputs are passed by name, because their order varies."""

    batch_dependent = False

    def __init__(self, folder: Path, precision: str, threads: int, onednn: bool) -> None:
        from paddle.inference import Config, create_predictor

        from tinybert.models.inference_program import NAME, program_file

        program = program_file(folder)
        if program is None:
            raise UserError(f"{folder} has no {NAME}.json: the export is incomplete. Export the model again.")
        config = Config(str(program), str(folder / f"{NAME}.pdiparams"))
        config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        if not onednn:
            config.disable_mkldnn()
        elif precision == "bfloat16":
            config.enable_mkldnn_bfloat16()
        self.name, self.precision = titled("paddlepaddle") + " inference", precision
        self._predictor = create_predictor(config)
        self._inputs = NamedInputs(program, self._predictor.get_input_names())
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])

    def logits(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        for name, array in self._inputs.of(input_ids, token_type_ids).items():
            self._predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(array))
        self._predictor.run()
        return self._output.copy_to_cpu()


def open_engine(folder: Path, record: dict | None, threads: int) -> PaddleInference:
    """Load a program; if oneDNN fails or changes the answers, run it without oneDNN and report it.

    Raises:
        UserError: the program cannot be read, or bfloat16 is not supported.
    """
    runtime.prepare(threads)
    check, precision = (record or {}).get("check"), (record or {}).get("precision", "float32")
    try:
        engine = PaddleInference(folder, precision, threads, onednn=True)
        reason = differs(engine, check) if check else ""
    except (RuntimeError, NotImplementedError, ValueError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}"
    if not reason:
        return engine
    written = (record or {}).get("engine", "another version")
    if precision == "bfloat16":
        raise UserError(f"{folder}: bfloat16 through oneDNN does not work here ({reason}).\nExport with --precision float32.")
    logger.warning(f"{folder}: oneDNN of this Paddle fails ({reason}); running without it")
    try:
        return PaddleInference(folder, precision, threads, onednn=False)
    except (RuntimeError, NotImplementedError, ValueError, OSError) as error:
        raise UserError(
            f"{folder}: {titled('paddlepaddle')} cannot run this program, which was written with {written}\n"
            f"({type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}). Export the model again with this Paddle."
        ) from None


def check(precision: str, loaded: LoadedModel) -> None:
    """Reject an export that cannot be written.

    Raises:
        UserError: the model cannot be converted.
    """
    from tinybert.models.inference_program import check_program

    check_program(loaded)


def export(folder: Path, precision: str, source: ExportSource) -> dict:
    """Write a program; for bfloat16 the engine converts the same float32 weights."""
    from tinybert.models.inference_program import save_program

    save_program(folder, source.loaded)
    return {}
