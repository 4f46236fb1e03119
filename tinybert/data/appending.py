"""A one-dimensional `.npy` file that is written incrementally, for arrays larger than memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np


class AppendedArray:
    """Open `path`, `append` arrays, leave the block: the file is then a regular `.npy` of shape `[N]`."""

    def __init__(self, path: Path, dtype: type | np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self.count = 0
        self._file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        self._write_header()

    def _write_header(self) -> None:
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._file, header)  # the same size for any length, so that it can be overwritten at the end

    def append(self, values: np.ndarray) -> None:
        """Append values `[n]`."""
        self._file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self.count += len(values)

    def __enter__(self) -> AppendedArray:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()
