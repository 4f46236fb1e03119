"""All output for the user: the logger `tinybert`, its handler, and progress bars.

Information goes to stdout; warnings and errors go to stderr, prefixed with `warning: ` or `error: `. `set_verbosity` sets the level. The
handler is a normal `logging` handler: remove it with `logger.removeHandler`, or set `logger.propagate`, to handle the records like
those of any other library.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from tinybert.errors import UserError
from tinybert.language import translate

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

logger = logging.getLogger("tinybert")


def set_verbosity(level: str) -> None:
    """Show records of this level and above: `debug`, `info` (the default), `warning` or `error`; bars are shown with `info`.

    Raises:
        UserError: unknown level.
    """
    if level not in _LEVELS:
        raise UserError(f"verbosity got {level!r}\nexpected one of {', '.join(_LEVELS)}")
    logger.setLevel(_LEVELS[level])


def progress_bar(total: int | None, title: str, unit: str, start: int = 0) -> Any | None:
    """A `tqdm.auto` bar on a terminal or in a notebook; None if output goes to a file or is silenced."""
    if not logger.isEnabledFor(logging.INFO) or not (sys.stderr.isatty() or in_notebook()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, tqdm draws a text bar and recommends installing it
        from tqdm.auto import tqdm

    return tqdm(total=total or None, initial=start, desc=title, unit=unit, unit_scale=unit != "step", dynamic_ncols=True)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def detail(text: str) -> None:
    """Information that a notebook only shows after `set_verbosity("debug")`, so that its output stays short."""
    logger.log(logging.DEBUG if in_notebook() else logging.INFO, text)


@contextlib.contextmanager
def keep_stdout_free() -> Iterator[None]:
    """Redirect information to stderr in this block, because stdout carries data."""
    _Console.stdout_is_free = True
    try:
        yield
    finally:
        _Console.stdout_is_free = False


class _Console(logging.Handler):
    """Writes to the current `sys.stdout` and `sys.stderr`, above an active bar; write errors propagate, as with `print`."""

    stdout_is_free = False

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno
        before = "error: " if level >= logging.ERROR else "warning: " if level >= logging.WARNING else ""
        stream = sys.stderr if before or self.stdout_is_free else sys.stdout
        text = f"{translate(before)}{translate(record.getMessage())}\n"
        if "tqdm" not in sys.modules:
            stream.write(text)
        else:
            from tqdm import tqdm

            with tqdm.external_write_mode(file=stream):
                stream.write(text)
        stream.flush()


class _Once(logging.Filter):
    """Shows each warning once per run, whatever the number of models and stages, and only errors on ranks other than 0."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        if os.environ.get("PADDLE_TRAINER_ID", "0") != "0":  # other ranks would repeat it
            return False
        if record.levelno != logging.WARNING:
            return True
        text = record.getMessage()
        if text in self.said:
            return False
        self.said.add(text)
        return True


_once = _Once()


def begin_run() -> None:
    """Forget which warnings were shown, at the start of a new run."""
    _once.said.clear()


if not logger.handlers:
    logger.addFilter(_once)
    logger.addHandler(_Console())
    logger.setLevel(logging.INFO)
    logger.propagate = False
