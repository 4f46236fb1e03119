#!/usr/bin/env bash
# safetensors.numpy writes an array that is not in C order as it lies in memory under its own shape: a transposed or strided array comes back
# with other numbers, without an error or a warning.
# One would have guessed: the numbers that were saved, as version 0.7.0 gives, or a refusal, as for PyTorch's tensors.
# Source: https://github.com/safetensors/safetensors/issues/825, open when this was written. Seen with safetensors 0.8.0 and NumPy 1.26.4.
bash "$(dirname "$0")/with_packages" safetensors==0.8.0 numpy==1.26.4 <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import load, load_file, save, save_file

print("safetensors", safetensors.__version__, "numpy", np.__version__)
whole = np.arange(12, dtype=np.float32).reshape(3, 4)
arrays = {"in C order": whole, "transposed": whole.T, "every other column": whole[:, ::2]}
kept = {}
for name, array in arrays.items():
    save_file({name: array}, "a.safetensors")
    found, again = load_file("a.safetensors")[name], load(save({name: array}))[name]
    kept[name] = np.array_equal(found, array) and np.array_equal(again, array)
    print(f"{name}: saved {array.tolist()}, read {found.tolist()}: {'equal' if kept[name] else 'other numbers'}")
raise SystemExit(0 if list(kept.values()) == [True, False, False] else 1)
PYTHON
