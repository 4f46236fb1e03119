"""The options of `serve`."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from tinybert.commands.registry import command
from tinybert.config.distilling import in_models
from tinybert.config.groups import threads_option
from tinybert.config.options import Config, option

in_service = partial(option, group="service")


@command("serve", summary="serve a model over HTTP, with dynamic batching", recipe="serve:serve")
class ServeConfig(Config):
    """Serve a trained or an exported model over HTTP: /predict, /health, /metrics, and a page to try it."""

    NEEDS_PADDLE: ClassVar[bool] = False  # a model for another engine needs none
    GROUPS: ClassVar[tuple[str, ...]] = ("models", "service", "run")

    model_path: str = in_models(help="the folder of a model or of an export; the output folder of a run means its best model")
    max_seq_length: int | None = in_models(
        None, help="word pieces per row, [CLS] and [SEP] included; longer ones are cut", unset="as the model was trained", at_least=4
    )
    host: str = in_service("127.0.0.1", help="the address to listen on; 0.0.0.0: every one of this machine")
    port: int = in_service(8000, help="the port; 0: a free one, which is printed", at_least=0, at_most=65535)
    workers: int = in_service(1, help="processes, each with a copy of the model and its share of the threads", at_least=1, at_most=256)
    max_batch: int | None = in_service(
        None, help="rows that run together", unset="32; 1 for a file whose answers depend on the batch", at_least=1, at_most=4096
    )
    max_wait_ms: float = in_service(
        2.0, help="milliseconds that a row waits for others when nothing runs; 0: none", at_least=0, at_most=10_000
    )
    max_queue: int = in_service(1024, help="rows that may wait; more are answered with 429", at_least=1)
    max_rows: int = in_service(256, help="rows of one request; more are answered with 422", at_least=1)
    max_characters: int = in_service(20_000, help="characters of one text; longer ones are answered with 422", at_least=1)
    threads: int | None = threads_option()
