"""Runs inside the caller's process: Paddle is prepared once, and the process state is restored after the run."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from tinybert import devices, runtime
from tinybert.commands.registry import find_command
from tinybert.engine import run_lock
from tinybert.log import logger
from tinybert.user_objects import UserObjects, use_objects

_ready = False


def ready(threads: int | None = None) -> None:
    """Import and prepare Paddle if that has not been done; `threads` are set in any case.

    Raises:
        UserError: Paddle is not installed.
    """
    global _ready
    if _ready and threads is None:
        return
    with _kept():
        runtime.prepare(threads)
    _ready = True


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Restore OMP_NUM_THREADS, which preparing Paddle changes."""
    before = os.environ.get("OMP_NUM_THREADS")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = before


@contextlib.contextmanager
def in_process(threads: int | None = None, objects: UserObjects | None = None, output: Path | None = None) -> Iterator[None]:
    """Prepare Paddle inside; afterwards restore device, threads and random generator, and unlock the folder `output`."""
    ready(threads)
    import paddle

    generator, count = paddle.get_rng_state(), runtime.threads()
    try:
        with _kept(), devices.restored_device(), use_objects(objects or UserObjects()):
            yield
    finally:
        paddle.set_rng_state(generator)
        if runtime.threads() != count:  # a resumed run uses those of its checkpoint
            runtime.set_threads(count)
        if output is not None:
            run_lock.release(output)
        gc.collect()


def run_command(name: str, values: dict[str, object], objects: UserObjects | None = None):
    """The return value of the recipe of a command for these values.

    Raises:
        UserError: what the command line would report.
    """
    command = find_command(name)
    config = command.config(**values)
    for notice in config.notices:
        logger.warning(notice)
    output = getattr(config, "output_dir", None)
    with in_process(getattr(config, "threads", None), objects, output):
        return pkgutil.resolve_name(command.recipe)(config)


def __getattr__(name: str) -> object:
    if name == "Needs":  # defined in a module that imports Paddle
        ready()
        return importlib.import_module("tinybert.models.trace").Needs
    raise AttributeError(name)
