"""Everything that is said to the user: the logger `tinybert`, its handler, and progress bars.

Information goes to stdout as it is; warnings and errors go to stderr, with `warning: ` or `error: ` before them. `set_verbosity` makes all
of it quiet. The handler is an ordinary one of `logging`: take it off with `logger.removeHandler`, or set `logger.propagate`, to treat the
records like those of any other library.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from tinybert.errors import UserError
from tinybert.language import translate

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

logger = logging.getLogger("tinybert")


def set_verbosity(level: str) -> None:
    """Show records of this level and above: `debug`, `info` (the default), `warning` or `error`; bars are shown with `info`.

    Raises:
        UserError: no such level.
    """
    if level not in _LEVELS:
        raise UserError(f"verbosity got {level!r}\nexpected one of {', '.join(_LEVELS)}")
    logger.setLevel(_LEVELS[level])


def progress_bar(total: int | None, title: str, unit: str, start: int = 0) -> Any | None:
    """A bar of `tqdm.auto` on a terminal or in a notebook; None where it would fill a file, or everything is to be quiet."""
    if not logger.isEnabledFor(logging.INFO) or not (sys.stderr.isatty() or _in_notebook()):
        return None
    from tqdm.auto import tqdm

    return tqdm(total=total or None, initial=start, desc=title, unit=unit, unit_scale=unit != "step", dynamic_ncols=True)


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


@contextlib.contextmanager
def keep_stdout_free() -> Iterator[None]:
    """While the block runs, information goes to stderr too: stdout carries data."""
    _Console.stdout_is_free = True
    try:
        yield
    finally:
        _Console.stdout_is_free = False


class _Console(logging.Handler):
    """Writes to what `sys.stdout` and `sys.stderr` are now, above a bar if there is one; what cannot be written raises, as with `print`."""

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
    """Lets the same warning through once in a run, however many models and stages it has."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        text = record.getMessage()
        if text in self.said:
            return False
        self.said.add(text)
        return True


_once = _Once()


def begin_run() -> None:
    """Forget which warnings have been given: another run begins."""
    _once.said.clear()


if not logger.handlers:
    logger.addFilter(_once)
    logger.addHandler(_Console())
    logger.setLevel(logging.INFO)
    logger.propagate = False
