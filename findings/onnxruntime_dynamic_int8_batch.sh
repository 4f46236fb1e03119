#!/usr/bin/env bash
# onnxruntime 1.32.0: with dynamic int8 the answer to a row depends on which rows share its batch.
#
# `DynamicQuantizeLinear` takes one scale from the whole tensor of activations, all rows of the batch together. A row with large numbers
# makes the steps of every other row coarser. In float32 the same file gives a row the same answer in any batch.
# One would have guessed a scale a row, as rows have nothing to do with each other. Whoever batches requests of different users gets answers
# that change with the traffic. Source: run by this script on onnx 1.17.0 and onnxruntime 1.32.0. Exit code 1 if it is otherwise.
bash "$(dirname "$0")/with_packages" onnx==1.17.0 onnxruntime==1.32.0 ml-dtypes==0.5.4 numpy==1.26.4 <<'PY'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

random = np.random.default_rng(0)
weight = numpy_helper.from_array(random.standard_normal((64, 8)).astype("float32"), "weight")
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 64), ("y", 8))]
graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "g", ends[:1], ends[1:], [weight])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "float.onnx")
quantize_dynamic("float.onnx", "int8.onnx", weight_type=QuantType.QInt8)

row = random.standard_normal((1, 64)).astype("float32")
other = 20 * random.standard_normal((1, 64)).astype("float32")
print("onnxruntime", onnxruntime.__version__)
apart = {}
for name in ("float", "int8"):
    session = onnxruntime.InferenceSession(f"{name}.onnx", providers=["CPUExecutionProvider"])
    alone = session.run(None, {"x": row})[0][0]
    together = session.run(None, {"x": np.concatenate([row, other])})[0][0]
    apart[name] = float(np.abs(alone - together).max())
    print(f"{name}: the row alone and beside another one differ by {apart[name]:.4f} (largest output {np.abs(alone).max():.2f})")
as_known = apart["float"] < 1e-4 and apart["int8"] > 0.1
print("as described" if as_known else "THE BEHAVIOUR HAS CHANGED")
sys.exit(0 if as_known else 1)
PY
