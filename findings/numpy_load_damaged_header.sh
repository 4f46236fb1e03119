#!/usr/bin/env bash
# numpy.load of a .npy file with one damaged byte in its header raises tokenize.TokenError where brackets do not close, and not only
# ValueError.
# One would have guessed: ValueError or OSError, the two that the documentation of numpy.load lists for files that cannot be read; a cache
# that is made anew "except (OSError, ValueError)" ends in a traceback instead.
# Source: numpy/lib/format.py, _read_array_header: the header goes to ast.literal_eval, and when that fails through tokenize (for headers
# that Python 2 wrote), whose errors are passed on. Seen with NumPy 1.26.4 on Python 3.11.
bash "$(dirname "$0")/with_packages" numpy==1.26.4 <<'PYTHON'
import sys

import numpy as np

print("numpy", np.__version__, "python", sys.version.split()[0])
np.save("whole.npy", np.arange(6))
whole = open("whole.npy", "rb").read()
seen = set()
for at in range(10, 80):
    for byte in b"()'{}x":
        with open("damaged.npy", "wb") as file:
            file.write(whole[:at] + bytes([byte]) + whole[at + 1 :])
        try:
            np.load("damaged.npy", allow_pickle=False)
        except Exception as error:
            name = f"{type(error).__module__}.{type(error).__name__}"
            if name not in seen:
                print(f"byte {at} changed to {chr(byte)!r}: {name}: {str(error).splitlines()[0][:80]}")
            seen.add(name)
print("raised:", ", ".join(sorted(seen)))
sys.exit(0 if "tokenize.TokenError" in seen else 1)
PYTHON
