"""Distributes work over several processes, with results in order and a bounded number of pending items."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tinybert.errors import UserError

T, R = TypeVar("T"), TypeVar("R")
_works: Sequence[Callable] = ()


class Workers:
    """Processes that can run `works`, each pickled once per process; for one process, the current one.

    A context manager: on exit it waits for running work and drops the rest.
    """

    def __init__(self, works: Sequence[Callable], processes: int) -> None:
        self.works = works
        self._pool: ProcessPoolExecutor | None = None
        self.processes = processes
        if processes > 1:  # not fork: the caller may have threads, of Paddle or of the tokenizer
            self._pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (works,))

    def ordered(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`work(item)` for each item, in order; `work` is one of `works`.

        Raises:
            UserError: a process was killed, usually for lack of memory; or any error raised by `work`.
        """
        if self._pool is None:
            yield from map(work, items)
            return
        number = next(i for i, known in enumerate(self.works) if known is work)
        waiting: deque = deque()
        try:
            for item in items:
                with _blocked():  # a process starts here and keeps the signal mask in all of its threads, whatever Paddle does to handlers
                    waiting.append(self._pool.submit(_call, number, item))
                if len(waiting) > 2 * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            # the pool would send SIGTERM, which the others block, and one may wait for a lock whose owner is dead
            for process in list(self._pool._processes.values()):
                process.kill()
            raise UserError("a worker process was killed, most likely due to lack of memory. Try a lower --num_workers.") from None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Block the signals that the main process handles; running work in the other processes is finished."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(works: Sequence[Callable]) -> None:
    global _works
    _works = works
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each process has one core
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(number: int, item: object) -> object:
    return _works[number](item)
