"""Work spread over several processes, results in order, never more in flight than the processes can chew."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tinybert.errors import UserError

T, R = TypeVar("T"), TypeVar("R")
_work: Callable | None = None


def ordered(work: Callable[[T], R], items: Iterable[T], processes: int) -> Iterator[R]:
    """`work(item)` of each item, in the items' order; `work` is pickled once per process. One process means this one.

    Raises:
        UserError: a process was killed, most often for lack of memory; or what `work` raises.
    """
    if processes == 1:
        yield from map(work, items)
        return
    # not fork: the caller may have threads, of Paddle or of the tokenizer
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (work,))
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(_call, item))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise UserError("a worker process was killed, most often for lack of memory. Try fewer --num_workers.") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(work: Callable) -> None:
    global _work
    _work = work
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a process has one core
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process decides; work that has begun is finished
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(item: T) -> R:
    assert _work is not None
    return _work(item)
