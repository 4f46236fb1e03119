"""ONNX files in onnxruntime: float32, or int8 with dynamically quantised activations."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinybert.deploy.engine import ExportSource, NamedInputs, check_quantised
from tinybert.deploy.libraries import needed, titled
from tinybert.deploy.onnx_file import check_onnx
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel

PRECISIONS = ("float32", "int8")
FILE = "model.onnx"
# operations after dynamic quantisation: 8-bit matrix products, and 8-bit table lookups
PRODUCTS = ("MatMulInteger", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm")
_WHY = "an ONNX file"


class OnnxRuntime:
    """A session."""

    def __init__(self, path: Path, record: dict, threads: int) -> None:
        library = needed("onnxruntime", "export", _WHY)
        library.set_default_logger_severity(3)
        options = library.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # without VNNI, products of signed and unsigned 8-bit numbers saturate; this option makes them exact, and has no effect elsewhere
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = library.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions derive directly from Exception
            raise UserError(f"{path} cannot be loaded: {str(error).splitlines()[0]}\nExport the model again.") from None
        self.name, self.precision = titled("onnxruntime"), record["precision"]
        self.batch_dependent = bool(record.get("batch_dependent"))
        self._inputs = NamedInputs(path, [entry.name for entry in self._session.get_inputs()])

    def logits(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        return self._session.run(["logits"], self._inputs.of(input_ids, token_type_ids))[0]


def open_engine(folder: Path, record: dict, threads: int) -> OnnxRuntime:
    """Load the file of an exported folder.

    Raises:
        UserError: onnxruntime is missing, or the file cannot be loaded.
    """
    return OnnxRuntime(folder / FILE, record, threads)


def check(precision: str, loaded: LoadedModel) -> None:
    """Reject an export that cannot be written or run here.

    Raises:
        UserError: a missing library, or a model that cannot be converted.
    """
    needed("onnxruntime", "export", _WHY)
    check_onnx(loaded)


def export(folder: Path, precision: str, source: ExportSource) -> dict:
    """Write a model as ONNX; int8 has 8-bit weights including embedding tables, and dynamically quantised activations.

    Returns the number of quantised matrix products and tables.

    Raises:
        UserError: a missing library, or quantisation was incomplete.
    """
    target = folder / FILE
    if precision == "float32":
        shutil.copyfile(source.onnx, target)
        return {}
    needed("onnxruntime", "export", "int8")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends preparations that `onnx_file` has already done
    try:
        quantize_dynamic(source.onnx, target, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gather"])
    finally:
        root.setLevel(level)
    before, after = _weights(source.onnx), _weights(target)
    counts = {
        "products": sum(after["nodes"][name] for name in PRODUCTS),
        "products_before": before["products"],
        "tables_in_float": after["tables"],
    }
    check_quantised(counts)
    return counts


def _weights(path: Path) -> dict:
    """The operations of a file, its matrix products with float32 weights, and its float32 lookup tables."""
    onnx = needed("onnx", "export", _WHY)
    graph = onnx.load(str(path), load_external_data=False).graph
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2}
    return {
        "nodes": Counter(node.op_type for node in graph.node),
        "products": sum(node.op_type == "MatMul" and node.input[1] in floats for node in graph.node),
        "tables": sum(node.op_type == "Gather" and node.input[0] in floats for node in graph.node),
    }
