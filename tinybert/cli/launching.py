"""`python -m tinybert launch`: start several processes of one command on this machine and stop them together.

Paddle's own launcher returns exit code 1 for any failure, including invalid input. This one returns the exit code of the first process
that failed, forwards signals, and stops the others within `STOP_TIMEOUT` seconds. It sets the same variables as
`paddle.distributed.launch`, which is still needed for several machines.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from tinybert.errors import UserError
from tinybert.log import logger

STOP_TIMEOUT = 20.0  # seconds for the others to save a checkpoint after a process has failed or a signal was received
MOST = 64
USAGE = "usage: tinybert launch --processes N COMMAND --name value ..."
_PR_SET_PDEATHSIG = 1


def launch(words: Sequence[str]) -> int:
    """Run a command in several processes and return the exit code: 0, or that of the first process that failed.

    Raises:
        UserError: the number of processes or the command is missing or invalid.
    """
    count, command = _parsed(words)
    line, end = [sys.executable, "-m", "tinybert", *command], _end_with_the_launcher
    # in new sessions: a terminal's Ctrl-C then arrives only once, forwarded by the launcher
    started = [subprocess.Popen(line, env=own, start_new_session=True, preexec_fn=end) for own in _environments(count)]
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in numbers}
    try:
        return _wait(started, received)
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def _parsed(words: Sequence[str]) -> tuple[int, list[str]]:
    words = list(words)
    if words and words[0].startswith("--processes="):
        words[:1] = ["--processes", words[0].partition("=")[2]]
    if len(words) < 3 or words[0] != "--processes" or words[2].startswith("-"):
        raise UserError(f"launch needs a number of processes and a command\n{USAGE}")
    if not words[1].isascii() or not words[1].isdigit() or not 1 <= int(words[1]) <= MOST:
        raise UserError(f"--processes got {words[1]!r}\nexpected a whole number from 1 to {MOST}")
    return int(words[1]), words[2:]


def _environments(count: int) -> list[dict[str, str]]:
    """The environment variables of each process, as set by Paddle's launcher."""
    places = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    shared = {
        "PADDLE_TRAINERS_NUM": str(count), "PADDLE_TRAINER_ENDPOINTS": ",".join(places), "PADDLE_LOCAL_SIZE": str(count),
        "PADDLE_DISTRI_BACKEND": os.environ.get("PADDLE_DISTRI_BACKEND", "gloo"), "PADDLE_WITH_GLOO": "0",
    }  # fmt: skip
    own = [{"PADDLE_TRAINER_ID": str(i), "PADDLE_RANK_IN_NODE": str(i), "PADDLE_CURRENT_ENDPOINT": places[i]} for i in range(count)]
    return [{**os.environ, **(shared if count > 1 else {}), **(mine if count > 1 else {})} for mine in own]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for one in opened:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in opened]


def _end_with_the_launcher() -> None:
    with contextlib.suppress(AttributeError, OSError):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(processes: list[subprocess.Popen], received: list[int]) -> int:
    failed, asked, given_up = 0, 0, float("inf")
    while any(process.poll() is None for process in processes):
        time.sleep(0.1)
        codes = [process.poll() for process in processes]
        if not failed and any(codes):
            failed = next(code for code in codes if code)
            logger.error(f"process {codes.index(failed)} exited with code {_exit_code(failed)}; stopping the others")
            received.append(signal.SIGTERM)
        if len(received) > asked:
            asked = len(received)
            given_up = min(given_up, time.monotonic() + STOP_TIMEOUT)
            for process in processes:
                if process.poll() is None:
                    process.send_signal(received[-1])
        if time.monotonic() > given_up:
            for process in processes:
                process.kill()
    codes = [process.returncode for process in processes]
    return _exit_code(failed or next((code for code in codes if code), 0))


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code
