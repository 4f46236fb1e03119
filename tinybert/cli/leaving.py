"""How a process ends once its work is done."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from typing import NoReturn

from tinybert import runtime


def leave(code: int) -> NoReturn:
    """End this process with `code`, at once where it is one of several that `paddle.distributed.launch` started.

    The threads of Paddle's store and of Gloo live on while an interpreter is taken down, and the first process to go pulls connections from
    under the others: now and then one of them died of that, after all its work, and the launcher reported a failed run. What was
    registered with `atexit` is called and output is written in either case.
    """
    if runtime.world_size() == 1:
        sys.exit(code)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nowhere left to say it
            stream.flush()
    os._exit(code)
