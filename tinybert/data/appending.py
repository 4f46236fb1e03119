"""A one-dimensional `.npy` file that is written incrementally, for arrays larger than memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

_HEADER = 128  # bytes; fits any one-dimensional header, so that the length can be written at the end


class AppendedArray:
    """Open `path`, `append` arrays, leave the block: the file is then a regular `.npy` of shape `[N]`."""

    def __init__(self, path: Path, dtype: type | np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self.count = 0
        self._file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        self._file.write(b"\0" * _HEADER)

    def append(self, values: np.ndarray) -> None:
        """Append values `[n]`."""
        self._file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.count += len(values)

    def __enter__(self) -> AppendedArray:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        fields = f"{{'descr': {self.dtype.str!r}, 'fortran_order': False, 'shape': ({self.count},), }}"
        text = fields.ljust(_HEADER - 11) + "\n"
        self._file.seek(0)
        self._file.write(b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little") + text.encode("latin1"))
        self._file.close()
