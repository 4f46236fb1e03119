"""All messages go through one standard-library logger."""

from __future__ import annotations

import ast
import logging
import sys
from pathlib import Path

import pytest

from tinybert import log
from tinybert.errors import UserError
from tinybert.log import logger, progress_bar, set_verbosity

PACKAGE = Path(log.__file__).parent
OWN_OUTPUT = {"cli/main.py"}  # the requested output of a command, and why it ended


@pytest.fixture(autouse=True)
def _level():
    yield
    logger.setLevel(logging.INFO)


def test_info_goes_to_stdout_and_warnings_to_stderr(capsys):
    logger.info("100 % of the rows")
    logger.warning("careful")
    logger.error("broken")
    shown = capsys.readouterr()
    assert shown.out == "100 % of the rows\n"
    assert shown.err == "warning: careful\nerror: broken\n"


def test_set_verbosity_silences_messages_below_the_level(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress_bar(2, "steps", "step")
    assert bar is not None
    bar.close()
    capsys.readouterr()
    set_verbosity("warning")
    logger.info("chatter")
    assert progress_bar(2, "steps", "step") is None
    logger.warning("careful")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "warning: careful\n")
    with pytest.raises(UserError, match="expected one of debug, info, warning, error"):
        set_verbosity("loud")


def test_log_line_does_not_break_the_progress_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress_bar(2, "steps", "step")
    bar.update(1)
    logger.info("a line")
    bar.close()
    shown = capsys.readouterr()
    assert shown.out == "a line\n" and "1/2" in shown.err.splitlines()[-1]


def test_only_the_command_entry_point_prints():
    found = []
    for path in PACKAGE.rglob("*.py"):
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        if any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
            found.append(path.relative_to(PACKAGE).as_posix())
    assert set(found) == OWN_OUTPUT


def test_repeated_warning_is_shown_once_per_run(capsys):
    for _ in range(2):
        for _ in range(3):
            log.logger.warning("the vocabulary looks cased")
            log.logger.info("a line")
        log.begin_run()
    told = capsys.readouterr()
    assert told.err == "warning: the vocabulary looks cased\n" * 2 and told.out == "a line\n" * 6
