"""Serves a model over HTTP with one or more processes until a signal; accepted requests are answered before it stops."""

from __future__ import annotations

import os
import socket
import tempfile
from types import ModuleType

from tinybert import runtime
from tinybert.commands.serve import ServeConfig
from tinybert.deploy.libraries import needed
from tinybert.deploy.predictor import Predictor, check_texts
from tinybert.deploy.service import SETTINGS, ServiceSettings, create_app, environment
from tinybert.errors import UserError
from tinybert.log import logger


def serve(config: ServeConfig) -> None:
    """Serve `--model_path` on `--host` and `--port` until SIGINT or SIGTERM."""
    uvicorn = needed("uvicorn", "serve", "tinybert serve")
    needed("fastapi", "serve", "tinybert serve")
    needed("prometheus_client", "serve", "tinybert serve")
    threads = max(1, (config.threads or runtime.available_cores()) // config.workers)
    settings = ServiceSettings(
        config.model_path,
        threads,
        config.max_seq_length,
        config.max_batch,
        config.max_wait_ms,
        config.max_queue,
        config.max_rows,
        config.max_characters,
    )
    listener = _listener(config.host, config.port)
    host, port = listener.getsockname()[:2]
    common = {"log_level": "warning", "access_log": False, "lifespan": "on"}
    try:
        predictor = Predictor.open(config.model_path, threads, config.max_seq_length)
        check_texts(predictor.folder, predictor.kind)
        for note in predictor.notes:
            logger.info(note)
        what = f"{predictor.engine.name} {predictor.engine.precision}, {config.workers} x {threads} threads"
        where = f"http://{'localhost' if host in ('0.0.0.0', '127.0.0.1') else host}:{port}"
        logger.info(f"serving {config.model_path} ({what}) on {where}\npress Ctrl-C to stop")
        if config.workers == 1:
            server = uvicorn.Server(uvicorn.Config(create_app(predictor, settings), **common))
            server.run(sockets=[listener])
        else:
            del predictor  # each worker loads its own
            _run_workers(uvicorn, config, settings, listener, common)
    except KeyboardInterrupt:  # raised by the signal that stopped it, after every request was answered
        pass
    finally:
        listener.close()
    logger.info("stopped: every accepted request was answered")


def _run_workers(uvicorn: ModuleType, config: ServeConfig, settings: ServiceSettings, listener: socket.socket, common: dict) -> None:
    from uvicorn.supervisors import Multiprocess

    with tempfile.TemporaryDirectory(prefix="tinybert-metrics-") as shared:
        os.environ |= {SETTINGS: environment(settings), "PROMETHEUS_MULTIPROC_DIR": shared}
        options = uvicorn.Config("tinybert.deploy.service:app_of_worker", factory=True, workers=config.workers, **common)
        try:
            Multiprocess(options, sockets=[listener]).run()
        finally:
            del os.environ[SETTINGS], os.environ["PROMETHEUS_MULTIPROC_DIR"]


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket, created before the model is loaded, so that a port in use is reported immediately.

    Raises:
        UserError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(f"--host {host} --port {port}: {error.strerror or error}. Choose another port, or 0 for a free one.") from None
    listener.set_inheritable(True)
    return listener
