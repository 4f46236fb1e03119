"""Dynamic batching of requests: a batch starts when it is full or when its oldest row has waited long enough."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
Answer = TypeVar("Answer")


class QueueFullError(Exception):
    """The queue of waiting rows is full."""


class ClosedError(Exception):
    """The service is shutting down and accepts no more rows."""


@dataclass
class _Waiting(Generic[Row, Answer]):
    row: Row
    answer: asyncio.Future[Answer]
    since: float


class Batcher(Generic[Row, Answer]):
    """Runs rows in batches, one batch at a time, in a separate thread.

    run: computes the answers to rows, in order. max_batch: batch size. max_wait: seconds that a row waits for others when idle.
    max_queue: maximum number of waiting rows. finished: called with the number of rows and seconds of every batch.
    queued: called with the number of waiting rows when it changes.
    """

    def __init__(
        self,
        run: Callable[[list[Row]], Sequence[Answer]],
        max_batch: int,
        max_wait: float,
        max_queue: int,
        finished: Callable[[int, float], None] = lambda rows, seconds: None,
        queued: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self.run, self.max_batch, self.max_wait, self.max_queue = run, max_batch, max_wait, max_queue
        self.finished, self.queued = finished, queued
        self._waiting: deque[_Waiting[Row, Answer]] = deque()
        self._closing = False

    async def start(self) -> None:
        """Start accepting rows."""
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "batches")
        self._loop = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop accepting rows, and wait until all accepted rows are answered."""
        self._closing = True
        self._arrived.set()
        await self._loop
        self._thread.shutdown()

    @property
    def waiting(self) -> int:
        """The number of waiting rows."""
        return len(self._waiting)

    async def answers(self, rows: Sequence[Row]) -> list[Answer]:
        """The answers to rows, in order; either all rows are accepted or none.

        Raises:
            QueueFullError: too many rows are waiting.
            ClosedError: the service is shutting down.
            Exception: raised when running the batch of a row.
        """
        if self._closing:
            raise ClosedError
        if len(self._waiting) + len(rows) > self.max_queue:
            raise QueueFullError
        loop, now = asyncio.get_running_loop(), time.monotonic()
        taken = [_Waiting(row, loop.create_future(), now) for row in rows]
        self._waiting.extend(taken)
        self.queued(self.waiting)
        self._arrived.set()
        return list(await asyncio.gather(*(one.answer for one in taken)))

    async def _work(self) -> None:
        while self._waiting or not self._closing:
            if await self._is_ready():
                batch = [self._waiting.popleft() for _ in range(min(self.max_batch, len(self._waiting)))]
                self.queued(self.waiting)
                await self._run(batch)

    async def _is_ready(self) -> bool:
        """Whether a batch should start now; otherwise waits for rows or for the deadline."""
        if self._waiting and (self._closing or len(self._waiting) >= self.max_batch):
            return True
        left = self._waiting[0].since + self.max_wait - time.monotonic() if self._waiting else None
        if left is not None and left <= 0:
            return True
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), left)
        except asyncio.TimeoutError:
            return True
        return False

    async def _run(self, batch: list[_Waiting[Row, Answer]]) -> None:
        batch = [one for one in batch if not one.answer.cancelled()]  # the caller is gone
        if not batch:
            return
        begun = time.monotonic()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self.run, [one.row for one in batch])
        except Exception as error:  # passed to the callers
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        self.finished(len(batch), time.monotonic() - begun)
        for one, answer in zip(batch, found, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)
