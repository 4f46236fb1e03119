#!/usr/bin/env bash
# Paddle: nn.initializer.Assign turns an array into a Python list of numbers, so a parameter of BERT's word embeddings (30522 x 768) takes seconds;
# nn.initializer.Constant followed by set_value gives the same bytes in hundredths of a second.
# One would have guessed: both copy the array.
# Source: paddle/nn/initializer/assign.py passes the values as an attribute of the operator assign_value. Seen with paddlepaddle 3.3.1.
bash "$(dirname "$0")/with_packages" paddlepaddle==3.3.1 numpy==1.26.4 setuptools <<'PYTHON'
import time
from importlib.metadata import version

import numpy as np
import paddle
from paddle import nn

print("paddlepaddle", version("paddlepaddle"))
values = np.random.default_rng(0).random((30522, 768), dtype="float32")
layer = nn.Layer()


def assigned():
    return layer.create_parameter(list(values.shape), default_initializer=nn.initializer.Assign(values))


def set_later():
    parameter = layer.create_parameter(list(values.shape), default_initializer=nn.initializer.Constant())
    parameter.set_value(values)
    return parameter


seconds = {}
for make in (assigned, set_later, assigned, set_later):
    begun = time.perf_counter()
    parameter = make()
    seconds[make.__name__] = time.perf_counter() - begun
    assert parameter.numpy().tobytes() == values.tobytes()
print({name: round(value, 3) for name, value in seconds.items()})
raise SystemExit(0 if seconds["assigned"] > 10 * seconds["set_later"] else 1)
PYTHON
