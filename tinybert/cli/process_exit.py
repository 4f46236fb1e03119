"""Ending a process after its work is done."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from typing import NoReturn

from tinybert import runtime


def exit_process(code: int) -> NoReturn:
    """Exit with `code`; skip interpreter shutdown in a process started by `paddle.distributed.launch`.

    The threads of Paddle's store and of Gloo keep running during interpreter shutdown. The first process to exit closes connections that
    the others still use, which occasionally crashed one of them after all its work and made the launcher report a failed run. `atexit`
    functions are called and output is flushed in either case.
    """
    if runtime.world_size() == 1:
        sys.exit(code)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # no stream left to report it on
            stream.flush()
    os._exit(code)
