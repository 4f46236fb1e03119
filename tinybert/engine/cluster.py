"""A Ray cluster in place of processes on this machine; Ray repeats the work of a lost worker.

Limits: the package, the working directory and all files of a run have the same paths on every machine; work uses CPUs only.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tinybert.errors import UserError

T, R = TypeVar("T"), TypeVar("R")
_RETRIES = 3  # of an item whose worker was lost
_works: dict[str, Sequence[Callable]] = {}  # of this worker, kept from item to item with the models they have loaded


class ClusterWorkers:
    """A cluster that can run `works`, each pickled once per worker; used like `corpus.workers.Workers`.

    address: of the cluster; None: a new one on this machine. threads: CPUs of each worker.
    """

    def __init__(self, works: Sequence[Callable], address: str | None, threads: int) -> None:
        self.works, self.address, self.threads = works, address, threads

    def __enter__(self) -> ClusterWorkers:
        try:
            import ray
        except ImportError:
            raise UserError("--runner ray needs Ray\npip install 'tinybert-paddle[cluster]'") from None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = ray
        self._joined = not ray.is_initialized()
        if self._joined:
            self._join()
        sizes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        if max(sizes) < self.threads:
            self.__exit__()
            raise UserError(f"no machine of the cluster has {self.threads} CPUs, the largest has {max(sizes):g}\ngive --threads")
        self._count = max(1, int(sum(size // self.threads for size in sizes)))
        self._source = [ray.put((os.getcwd(), self.works))]  # in a list, so that a worker reads it only once
        self._task = ray.remote(num_cpus=self.threads, max_retries=_RETRIES)(_call)
        return self

    def _join(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM) if main else None
        try:
            self._ray.init(address=self.address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError) as error:
            raise UserError(f"--address {self.address}: there is no Ray cluster ({error})\nstart one with: ray start --head") from None
        finally:
            if before is not None:  # Ray would leave its own handler installed, even after its shutdown
                signal.signal(signal.SIGTERM, before)

    def __exit__(self, *error: object) -> None:
        if self._joined:
            self._ray.shutdown()

    def ordered(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`work(item)` for each item, in order, with a bounded number of pending items; `work` is one of `works`.

        Raises:
            UserError: a worker was lost again and again; or any error raised by `work`.
        """
        waiting: deque = deque()
        for item in items:
            waiting.append(self._submit(work, item))
            if len(waiting) > 2 * self._count:
                yield self._result(waiting.popleft())
        while waiting:
            yield self._result(waiting.popleft())

    def completed(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[int, R]]:
        """The number and the result of each item, as they are finished.

        Raises:
            UserError: as `ordered`.
        """
        waiting = {self._submit(work, item): number for number, item in enumerate(items)}
        while waiting:
            (finished,), _ = self._ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(finished), self._result(finished)

    def _submit(self, work: Callable, item: object) -> object:
        number = next(i for i, known in enumerate(self.works) if known is work)
        return self._task.remote(self._source, number, item)

    def _result(self, reference: object) -> object:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise UserError(
                f"the cluster lost {_RETRIES + 1} workers at the same work ({type(error).__name__}), most likely due to lack of memory"
            ) from None


def _call(source: list, number: int, item: object) -> object:
    key = source[0].hex()
    if key not in _works:
        import ray

        folder, works = ray.get(source[0])
        os.chdir(folder)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        _works.clear()
        _works[key] = works
    return _works[key][number](item)
