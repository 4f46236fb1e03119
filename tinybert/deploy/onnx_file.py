"""Converts a Paddle program to a standard ONNX file: plain names, dynamic batch and length, weights as initializers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tinybert.deploy.libraries import needed, quiet_stdout
from tinybert.errors import UserError

if TYPE_CHECKING:
    from onnx import GraphProto

    from tinybert.models.loading import LoadedModel

OPSET = 17  # the first with LayerNormalization as one operation
_WHY = "export to ONNX"


def check_onnx(loaded: LoadedModel) -> None:
    """Reject a model that cannot be written as ONNX here.

    Raises:
        UserError: paddle2onnx or onnx is not installed, or see `check_program`.
    """
    from tinybert.models.inference_program import check_program

    for library in ("onnx", "paddle2onnx"):
        needed(library, "export", _WHY)
    check_program(loaded)


def write_onnx(path: Path, loaded: LoadedModel) -> None:
    """Write a model as ONNX: int64 `input_ids` and `token_type_ids` `[batch, length]`, float32 `logits`.

    Raises:
        UserError: paddle2onnx or onnx is not installed, or the conversion failed.
    """
    onnx = needed("onnx", "export", _WHY)
    paddle2onnx = needed("paddle2onnx", "export", _WHY)
    from tinybert.models.inference_program import NAME, program_file, save_program

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_program(folder, loaded)
        raw = folder / "raw.onnx"
        # paddle2onnx's own optimizers download packages at run time, so they are not used
        with quiet_stdout():
            paddle2onnx.export(
                str(program_file(folder)),
                str(folder / f"{NAME}.pdiparams"),
                str(raw),
                opset_version=OPSET,
                auto_upgrade_opset=False,
                optimize_tool="none",
            )
        if not raw.is_file():
            raise UserError("paddle2onnx could not convert the model; its messages are above. Please report this.")
        model = onnx.load(str(raw))
    _tidy(onnx, model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _tidy(onnx: ModuleType, graph: GraphProto) -> None:
    """Convert weights to a form that quantisation recognises, and give inputs and outputs standard names.

    paddle2onnx 2.1.0 passes every weight through an Identity, which hides it from onnxruntime's quantisation, so that everything silently
    stays in float32; the dynamic dimensions of the two inputs have four names, and the output is called fetch_name_0.
    """
    stands_for: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        elif node.op_type == "Identity":
            stands_for[node.output[0]] = node.input[0]
        else:
            kept.append(node)

    def original(name: str) -> str:
        while name in stands_for:
            name = stands_for[name]
        return name

    output = graph.output[0]
    renamed = {original(output.name): "logits"}
    for node in kept:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(original(name), original(name))
    output.name = "logits"
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:]
    for entry in graph.input:
        for i, name in enumerate(("batch", "length")):
            entry.type.tensor_type.shape.dim[i].dim_param = name
    output.type.tensor_type.shape.dim[0].dim_param = "batch"
