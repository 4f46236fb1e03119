"""The options of `serve`."""

from __future__ import annotations

from functools import partial

from tinybert.commands.registry import command
from tinybert.config.deployed import DeployedModel
from tinybert.config.notices import Notice
from tinybert.config.options import option
from tinybert.errors import UserError

in_service = partial(option, group="service")


@command("serve", summary="serve a model over HTTP, with dynamic batching", recipe="serve:serve")
class ServeConfig(DeployedModel):
    """Serve a trained or exported model over HTTP: /predict, /health, /metrics, and a page to try it."""

    NEEDS_PADDLE = False  # exported models for other engines do not need it
    GROUPS = ("models", "service", "run")

    host: str = in_service("127.0.0.1", help="address to listen on; 0.0.0.0: all addresses of this machine")
    port: int = in_service(8000, help="port; 0: any free port, which is printed", at_least=0, at_most=65535)
    workers: int = in_service(
        1, help="number of processes, each with a copy of the model and a share of the threads", at_least=1, at_most=256
    )
    max_batch: int | None = in_service(
        None, help="batch size", unset="32; 1 for an export whose outputs depend on the batch", at_least=1, at_most=4096
    )
    max_wait_ms: float = in_service(
        0.0, help="milliseconds that a row waits for others on an idle server; 0: it starts at once", at_least=0, at_most=10_000
    )
    max_queue: int = in_service(1024, help="maximum number of waiting rows; further requests get status 429", at_least=1)
    max_rows: int = in_service(256, help="maximum number of rows per request; larger requests get status 422", at_least=1)
    max_characters: int = in_service(20_000, help="maximum number of characters per text; longer texts get status 422", at_least=1)

    def check(self) -> list[Notice]:
        """Reject a queue that has no room for the largest request."""
        if self.max_queue < self.max_rows:
            raise UserError(
                f"--max_queue {self.max_queue} is less than --max_rows {self.max_rows}: larger requests would never be accepted\n"
                f"give --max_queue {self.max_rows} or more, or --max_rows {self.max_queue} or fewer"
            )
        return super().check()
