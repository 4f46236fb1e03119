"""Prometheus metrics of a service, over all its worker processes."""

from __future__ import annotations

import os
from collections.abc import Callable

from tinybert.deploy.libraries import needed

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Requests by status, rows, seconds of requests and batches, rows of batches, and waiting rows."""

    def __init__(self) -> None:
        self._library = needed("prometheus_client", "serve", "tinybert serve")
        library, self._registry = self._library, self._library.CollectorRegistry()
        own = {"registry": self._registry}
        self._requests = library.Counter("tinybert_requests", "requests to /predict by status", ["status"], **own)
        self._rows = library.Counter("tinybert_rows", "predicted rows", **own)
        self._seconds = library.Histogram("tinybert_request_seconds", "seconds per request", buckets=_SECONDS, **own)
        self._batch_rows = library.Histogram("tinybert_batch_rows", "rows per batch", buckets=_ROWS, **own)
        self._batch_seconds = library.Histogram("tinybert_batch_seconds", "seconds per batch", buckets=_SECONDS, **own)
        self._waiting = library.Gauge("tinybert_waiting_rows", "waiting rows", multiprocess_mode="livesum", **own)

    def answered(self, status: int) -> None:
        """Count a request by the status of its answer."""
        self._requests.labels(str(status)).inc()

    def predicted(self, rows: int, seconds: float) -> None:
        """Count the rows and the seconds of a request with predictions."""
        self._rows.inc(rows)
        self._seconds.observe(seconds)

    def batch(self, rows: int, seconds: float) -> None:
        """Count a batch."""
        self._batch_rows.observe(rows)
        self._batch_seconds.observe(seconds)

    def waiting(self, rows: int) -> None:
        """Set the number of waiting rows in this process."""
        self._waiting.set(rows)

    def text(self) -> tuple[bytes, str]:
        """The metrics in Prometheus' text format, and its content type."""
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = self._library.CollectorRegistry()
            MultiProcessCollector(registry)
        return self._library.generate_latest(registry), self._library.CONTENT_TYPE_LATEST


class CountAnswers:
    """Counts the requests to a path by the status of their answers, whichever part of the application gave them."""

    def __init__(self, app, path: str, answered: Callable[[int], None]) -> None:
        self.app, self.path, self.answered = app, path, answered

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return

        async def counted(message) -> None:
            if message["type"] == "http.response.start":
                self.answered(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, counted)
        except Exception:
            self.answered(500)  # given outside of this middleware
            raise
