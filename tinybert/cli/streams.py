"""Standard output and error that may be closed: a closed pipe or terminal does not end a run."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import TextIO

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET)


class _ResilientStream:
    """A stream that discards output after its reader is gone, with one notice on the other stream."""

    def __init__(self, stream: TextIO, other: TextIO, name: str) -> None:
        self._stream, self._other, self._name = stream, other, name

    def write(self, text: str) -> int:
        """Write, or discard."""
        with self._left():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or discard."""
        with self._left():
            self._stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _left(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _GONE:
                raise
            # data still buffered here or in a C library is discarded too
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            with contextlib.suppress(OSError, ValueError):
                self._other.write(f"{self._name} is closed; the run continues without it\n")
                self._other.flush()


@contextlib.contextmanager
def resilient_streams() -> Iterator[None]:
    """Let `sys.stdout` and `sys.stderr` survive a closed reader in this block; characters that the encoding lacks are escaped.

    A stream that was closed before the process started is replaced as well.
    """
    before = sys.stdout, sys.stderr
    out, err = (stream or open(os.devnull, "w", encoding="utf-8") for stream in before)  # noqa: SIM115  as long as the process
    for stream in (out, err):
        with contextlib.suppress(AttributeError, OSError):  # streams replaced by the caller
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = _ResilientStream(out, err, "standard output"), _ResilientStream(err, out, "standard error")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        sys.stdout, sys.stderr = before
