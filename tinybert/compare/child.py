"""`python -m tinybert` in a process that is killed with its parent: otherwise its folder would stay locked for the run that continues it.

Limits: Linux; elsewhere it runs on.
"""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends.

    In the child and not before it starts: a function between fork and exec makes Python fork, of which `tokenizers` warns.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    from tinybert.__main__ import run

    run()
