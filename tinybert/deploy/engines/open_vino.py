"""OpenVINO on the CPU: float32, bfloat16, or int8 calibrated by NNCF on rows of the task."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinybert.deploy.engine import ExportSource, NamedInputs, check_quantised
from tinybert.deploy.libraries import needed, quiet_stdout, titled
from tinybert.deploy.onnx_file import check_onnx
from tinybert.errors import UserError

if TYPE_CHECKING:
    from openvino import Core, Model, Node, Output

    from tinybert.models.loading import LoadedModel

PRECISIONS = ("float32", "bfloat16", "int8")
FILE = "model.xml"
_WHY, _CALIBRATION = "an OpenVINO file", "int8 for OpenVINO"
# on processors with bfloat16, OpenVINO uses it by default
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


@functools.cache
def _core() -> Core:
    """OpenVINO's core, one per process: with several of them, a later signal could end the process (OpenVINO 2026.4.1)."""
    return needed("openvino", "export", _WHY).Core()


class OpenVino:
    """A compiled model."""

    batch_dependent = False

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        core = _core()
        _check_processor(precision, str(path))
        settings = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        try:
            self._model = core.compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            raise UserError(f"{path} cannot be loaded: {str(error).strip().splitlines()[-1]}\nExport the model again.") from None
        self.name, self.precision = titled("openvino"), precision
        self._request = self._model.create_infer_request()
        self._inputs = NamedInputs(path, [entry.get_any_name() for entry in self._model.inputs])

    def logits(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        self._request.infer(self._inputs.of(input_ids, token_type_ids))
        return self._request.get_output_tensor(0).data.copy()


def open_engine(folder: Path, record: dict, threads: int) -> OpenVino:
    """Compile the file of an exported folder.

    Raises:
        UserError: openvino is missing, or the file cannot be loaded.
    """
    return OpenVino(folder / FILE, record["precision"], threads)


def _check_processor(precision: str, what: str) -> None:
    if precision == "bfloat16" and "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError(f"{what}: this processor does not support bfloat16. Export the model with --precision float32 or int8.")


def check(precision: str, loaded: LoadedModel) -> None:
    """Reject an export that cannot be written or run here.

    Raises:
        UserError: a missing library, a processor without bfloat16, or a model that cannot be converted.
    """
    _check_processor(precision, "--format openvino")
    needed("openvino", "export", _WHY)
    if precision == "int8":
        needed("nncf", "export", _CALIBRATION)
    check_onnx(loaded)


def export(folder: Path, precision: str, source: ExportSource) -> dict:
    """Write a model in OpenVINO's format; bfloat16 weights are stored in 16 bits, int8 is calibrated on the source's rows.

    Returns the number of quantised matrix products and tables.

    Raises:
        UserError: a missing library, or quantisation was incomplete.
    """
    library = needed("openvino", "export", _WHY)
    nncf = needed("nncf", "export", _CALIBRATION) if precision == "int8" else None
    model = _core().read_model(str(source.onnx))
    counts = {}
    if nncf is not None:
        nncf.set_log_level(logging.ERROR)
        names = {entry.get_any_name() for entry in model.inputs}
        rows = [{name: array for name, array in row.items() if name in names} for row in source.calibration()]
        with quiet_stdout():  # hides its progress bars
            model = nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows), model_type=nncf.ModelType.TRANSFORMER)
        counts = {**_count(model), "calibration_rows": len(rows)}
        check_quantised(counts)
    library.save_model(model, str(folder / FILE), compress_to_fp16=precision == "bfloat16")
    return counts


def _count(model: Model) -> dict[str, int]:
    """The number of matrix products with weights, of those with 8-bit weights, and of float32 tables."""
    products = quantised = tables = 0
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind not in ("MatMul", "Gather"):
            continue
        origin = _constant(node.input_value(1 if kind == "MatMul" else 0))
        if origin is None or len(origin.get_output_shape(0)) < 2:
            continue
        eight = origin.get_element_type().get_type_name() in ("i8", "u8")
        if kind == "MatMul":
            products, quantised = products + 1, quantised + eight
        else:
            tables += not eight
    return {"products": quantised, "products_before": products, "tables_in_float": tables}


def _constant(value: Output) -> Node | None:
    """The constant behind an input's scaling operations; None if it is computed."""
    node = value.get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape", "Transpose", "FakeQuantize", "FakeConvert"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None
