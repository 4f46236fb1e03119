#!/usr/bin/env bash
# Paddle: numpy() of a bfloat16 tensor returns the raw bits as uint16 without a warning: 2.0 becomes 16384. All values are finite, so a
# check for NaN does not find it; logits of a teacher that ran under auto_cast are then stored as integers. astype("float32") first is right.
# One would have guessed: float32 values, or an error, since NumPy has no bfloat16.
# Source: the type table of paddle.base.data_feeder maps BF16 to uint16. Seen with paddlepaddle 3.3.1.
bash "$(dirname "$0")/with_packages" paddlepaddle==3.3.1 numpy==1.26.4 setuptools <<'PYTHON'
from importlib.metadata import version

import paddle

print("paddlepaddle", version("paddlepaddle"))
tensor = paddle.to_tensor([2.0, -1.5, 0.0]).astype("bfloat16")
raw, right = tensor.numpy(), tensor.astype("float32").numpy()
print("numpy():", raw.dtype, raw.tolist())
print('astype("float32").numpy():', right.dtype, right.tolist())
raise SystemExit(0 if str(raw.dtype) == "uint16" and raw[0] == 16384 and right.tolist() == [2.0, -1.5, 0.0] else 1)
PYTHON
