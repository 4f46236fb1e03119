"""The web service of a model: /predict, /health, /metrics and a web page, as a FastAPI application.

Annotations are evaluated here, because FastAPI needs them.
"""

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinybert.deploy.batching import Batcher, ClosedError, QueueFullError
from tinybert.deploy.libraries import needed
from tinybert.deploy.page import page
from tinybert.deploy.predictor import Prediction, Predictor
from tinybert.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

SETTINGS = "TINYBERT_SERVE"  # the environment variable with the settings of worker processes
_WHY = "tinybert serve"
_ROWS_PER_CALL = 8  # sorted by length: padding short texts to the longest of 32 costs more than extra calls


@dataclass(frozen=True)
class ServiceSettings:
    """The settings of a service.

    max_batch: batch size; None: 32, or 1 for a model whose answers depend on the batch. max_wait_ms: how long a row waits for
    others when idle. max_queue: maximum number of waiting rows. max_rows, max_characters: limits per request, and per text.
    """

    model_path: str
    threads: int | None = None
    max_seq_length: int | None = None
    max_batch: int | None = None
    max_wait_ms: float = 0.0
    max_queue: int = 1024
    max_rows: int = 256
    max_characters: int = 20_000

    @property
    def max_bytes(self) -> int:
        """The maximum size of a request's body: its texts in UTF-8 with escapes, and some overhead."""
        return 2 * 6 * self.max_characters * min(self.max_rows, 64) + 65_536


def app_of_worker() -> "FastAPI":
    """The application of a worker process, with the settings in its environment."""
    settings = ServiceSettings(**json.loads(os.environ[SETTINGS]))
    return create_app(Predictor.open(settings.model_path, settings.threads, settings.max_seq_length), settings)


def create_app(predictor: Predictor, settings: ServiceSettings) -> "FastAPI":
    """The application for a loaded model.

    Raises:
        UserError: FastAPI or prometheus-client is not installed.
    """
    fastapi = needed("fastapi", "serve", _WHY)
    from fastapi.responses import HTMLResponse, JSONResponse, Response

    from tinybert.deploy.service_metrics import CountAnswers, Metrics
    from tinybert.deploy.service_request import PredictRequest, rows_of

    pair = predictor.rows.pair
    max_batch = settings.max_batch or (1 if predictor.engine.batch_dependent else 32)
    together = min(max_batch, _ROWS_PER_CALL)
    metrics = Metrics()
    batcher: Batcher[tuple[str, str | None], Prediction | None] = Batcher(
        lambda rows: _answer(predictor, rows, together),
        max_batch,
        settings.max_wait_ms / 1000,
        settings.max_queue,
        metrics.batch,
        metrics.waiting,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: "FastAPI") -> AsyncIterator[None]:
        await batcher.start()
        yield
        await batcher.stop()

    task = predictor.rows.task or "a task"
    app = fastapi.FastAPI(title=f"tinybert: {task}", version=predictor.engine.name, lifespan=lifespan)
    app.add_middleware(_LimitBody, most=settings.max_bytes)
    app.add_middleware(CountAnswers, path="/predict", answered=metrics.answered)  # the last one is the outermost

    @app.post("/predict")
    async def predict(request: PredictRequest):
        """Predictions for one text, one pair, or many of them."""
        begun = time.perf_counter()
        try:
            rows = rows_of(request, settings, pair)
        except UserError as error:
            return JSONResponse({"detail": str(error)}, 422)
        try:
            found = await batcher.answers(rows)
        except QueueFullError:
            said = f"{batcher.waiting} rows are waiting; the limit is {settings.max_queue}. Try again later."
            return JSONResponse({"detail": said}, 429, {"Retry-After": "1"})
        except ClosedError:
            return JSONResponse({"detail": "the service is shutting down"}, 503)
        if None in found:
            return JSONResponse({"detail": f"the model's outputs for text {found.index(None) + 1} are NaN or infinite"}, 500)
        metrics.predicted(len(found), time.perf_counter() - begun)
        return JSONResponse({"predictions": [as_json(one, request.top_k, request.probabilities) for one in found]})

    @app.get("/health")
    async def health():
        """The model, and the number of waiting rows."""
        return {
            "status": "ok",
            "task": predictor.rows.task,
            "labels": list(predictor.labels),
            "pairs": pair,
            "engine": predictor.engine.name,
            "precision": predictor.engine.precision,
            "max_seq_length": predictor.length,
            "max_batch": max_batch,
            "waiting": batcher.waiting,
        }

    @app.get("/metrics", include_in_schema=False)
    async def read_metrics():
        content, kind = metrics.text()
        return Response(content, media_type=kind)

    @app.get("/", include_in_schema=False)
    async def form():
        return HTMLResponse(page(predictor))

    return app


def _answer(predictor: Predictor, rows: list[tuple[str, str | None]], batch_size: int) -> list[Prediction | None]:
    """Predictions in the order of the rows, None where outputs are not finite; texts and pairs of several callers may be mixed."""
    found: dict[int, Prediction] = {}
    for pair in {second is not None for _, second in rows}:
        at = [i for i, (_, second) in enumerate(rows) if (second is not None) == pair]
        store, _ = predictor.encode([rows[i][0] for i in at], [rows[i][1] for i in at] if pair else None)
        logits = predictor.logits(store, batch_size)
        finite = np.isfinite(logits).all(1)
        found |= zip(np.array(at)[finite].tolist(), predictor.predictions(logits[finite]), strict=True)
    return [found.get(i) for i in range(len(rows))]


def as_json(found: Prediction, top_k: int = 1, probabilities: bool = False) -> dict:
    """A prediction as JSON."""
    if found.label is None:
        return {"score": found.score}
    entry: dict = {"label": found.label, "probability": found.probability}
    if top_k > 1:
        entry["top"] = [{"label": label, "probability": share} for label, share in found.top(top_k)]
    if probabilities:
        entry["probabilities"] = found.probabilities
    return entry


class _LimitBody:
    """Answers 413 to a request whose body is too long, before reading it into memory."""

    def __init__(self, app, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.most:
            await self._refuse(send)
            return
        read = 0

        async def counted():
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                from fastapi import HTTPException

                raise HTTPException(413, self._said, {"connection": "close"})
            return message

        await self.app(scope, counted, send)

    @property
    def _said(self) -> str:
        return f"the request is longer than {self.most} bytes"

    async def _refuse(self, send) -> None:
        body = json.dumps({"detail": self._said}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def environment(settings: ServiceSettings) -> str:
    """The settings in the form read by worker processes."""
    return json.dumps(asdict(settings))
