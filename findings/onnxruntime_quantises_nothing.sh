#!/usr/bin/env bash
# onnxruntime 1.32.0: `quantize_dynamic` returns without a warning when it has quantised nothing.
#
# A matrix product is quantised only where its weight is an initializer of the graph. Where the weight passes an Identity first, as in every
# file that paddle2onnx 2.1.0 writes, no weight is seen: the "int8" file holds the same float32 numbers, is as large, and nothing is said.
# One would have guessed a warning, or that constants are folded before weights are looked for.
# Source: run by this script on onnx 1.17.0 and onnxruntime 1.32.0. Exit code 1 if it is otherwise.
bash "$(dirname "$0")/with_packages" onnx==1.17.0 onnxruntime==1.32.0 ml-dtypes==0.5.4 numpy==1.26.4 <<'PY'
import logging
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger().addHandler(handler)


def write(path, identity):
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((256, 256)).astype("float32"), "weight")
    nodes = [helper.make_node("MatMul", ["x", "w" if identity else "weight"], ["y"])]
    if identity:
        nodes.insert(0, helper.make_node("Identity", ["weight"], ["w"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 256]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)
found = {}
for identity in (False, True):
    write("float.onnx", identity)
    messages.clear()
    quantize_dynamic("float.onnx", "int8.onnx", weight_type=QuantType.QInt8)
    kinds = [node.op_type for node in onnx.load("int8.onnx").graph.node]
    warned = [message for message in messages if "pre-processing" not in message]  # which it says of every file
    found[identity] = ("MatMulInteger" in kinds, os.path.getsize("int8.onnx") / os.path.getsize("float.onnx"), warned)
    print("weight through an Identity" if identity else "weight as an initializer", "->", kinds, f"{found[identity][1]:.2f} of the size", warned)
as_known = found[False][0] and not found[True][0] and found[True][1] > 0.9 and not found[True][2]
print("as described" if as_known else "THE BEHAVIOUR HAS CHANGED")
sys.exit(0 if as_known else 1)
PY
