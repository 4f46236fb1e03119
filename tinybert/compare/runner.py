"""Executes the runs of a comparison: as processes on this machine, or as tasks of a Ray cluster.

Each run has its own process either way: its memory is released afterwards, and its failure does not affect the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from tinybert import language
from tinybert.engine.cluster import ClusterWorkers
from tinybert.engine.signals import graceful_shutdown
from tinybert.errors import Interrupted

LOG = "log.txt"
INTERRUPTED = "the comparison was interrupted; resume it with the same command and --resume"
Commands = Sequence[Sequence[str]]
Done = Callable[[int, int, float], None]


def run_commands(commands: Commands, folder: Path, environment: dict[str, str], stopped: Callable[[], int | None] = lambda: None) -> int:
    """Run commands of `python -m tinybert` in order until one fails; returns its exit code, or 0.

    Their output is written to `log.txt` in the folder. stopped: returns the signal to forward to the processes, once there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOG, "a", encoding="utf-8") as log:
        for words in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", "tinybert.compare.child", *words, "--lang", language.current()], stdout=log,
                stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            )  # fmt: skip
            told = None
            while process.poll() is None:
                time.sleep(0.1)
                if (number := stopped()) is not None and told is None:
                    process.send_signal(number)
                    told = number
            if process.returncode:
                return process.returncode
    return 0


def run_alone(commands: Commands, folder: Path, interrupted: str, threads: int | None = None) -> int:
    """The same as one job, to which signals are forwarded. interrupted: the message after a signal.

    Raises:
        Interrupted: a signal was received, and the process has ended.
    """
    with graceful_shutdown() as stop:
        code = run_commands(commands, folder, child_environment(threads), lambda: stop.signal)
    if stop.signal is not None:
        raise Interrupted(stop.signal, interrupted)
    return code


def child_environment(threads: int | None = None) -> dict[str, str]:
    """The environment of a run: the current one, with this package on the path."""
    package = str(Path(__file__).resolve().parents[2])
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))}
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)  # Ray sets 1 for a task with several CPUs if the driver has imported Paddle
    return found


def run_local(jobs: Sequence[tuple[Commands, Path]], parallel: int, threads: int | None, done: Done, first_alone: bool = False) -> None:
    """Run jobs on this machine, `parallel` at a time. done: called with the number, exit code and duration in seconds of each job.

    first_alone: finish the first job, with the threads of all parallel ones, before others start. It stores the teacher's outputs, which
    otherwise all of them would compute.

    Raises:
        Interrupted: a signal was received and forwarded; running jobs have saved their state.
    """
    with graceful_shutdown() as stop, ThreadPoolExecutor(parallel) as pool:
        started = {}

        def one(number: int) -> int:
            started[number] = time.monotonic()
            if stop.signal is not None:
                return -1
            commands, folder = jobs[number]
            alone = first_alone and number == 0 and threads is not None
            environment = child_environment(threads * parallel if alone else threads)
            return run_commands(commands, folder, environment, lambda: stop.signal)

        for batch in (range(len(jobs))[:first_alone], range(len(jobs))[first_alone:]):
            waiting: dict[Future[int], int] = {pool.submit(one, number): number for number in batch}
            while waiting:
                for future in _next(waiting):
                    number = waiting.pop(future)
                    if stop.signal is None:
                        done(number, future.result(), time.monotonic() - started[number])
        if stop.signal is not None:
            raise Interrupted(stop.signal, INTERRUPTED)


def _next(waiting: Iterable[Future[int]]) -> set[Future[int]]:
    """Finished futures; waits in short steps so that the main thread can handle signals."""
    while True:
        finished, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        if finished:
            return finished


def run_ray(jobs: Sequence[tuple[Commands, Path]], address: str | None, threads: int, done: Done) -> None:
    """Run jobs on a Ray cluster whose machines share the output folder.

    Raises:
        UserError: Ray is not installed, there is no cluster at the address, or it lost a job several times.
    """
    run = RayJob(threads)
    with ClusterWorkers((run,), address, threads) as workers:
        started = time.monotonic()
        for number, code in workers.completed(run, jobs):
            done(number, code, time.monotonic() - started)


@dataclass(frozen=True)
class RayJob:
    """Runs the commands of a job; returns the exit code."""

    threads: int

    def __call__(self, job: tuple[Commands, Path]) -> int:
        commands, folder = job
        return run_commands(commands, folder, child_environment(self.threads))
