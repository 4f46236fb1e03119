"""Optional libraries, imported on demand, with an error that names the installation command."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from types import ModuleType

from tinybert.errors import UserError

_TELEMETRY = "openvino_telemetry"  # openvino and nncf report imports and calls with it, from a fork of this process


def needed(module: str, extra: str, why: str) -> ModuleType:
    """The module of an optional library.

    Raises:
        UserError: it is not installed; names the extra that installs it.
    """
    sys.modules.setdefault(_TELEMETRY, None)  # an import of it fails, and openvino and nncf work without it
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise UserError(
            f"{why} needs {module.split('.')[0]}, which is not installed.\nInstall it: python -m pip install 'tinybert-paddle[{extra}]'"
        ) from None


def titled(package: str) -> str:
    """Name and version of an installed package: `onnxruntime 1.32.0`."""
    return f"{package} {version(package)}"


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Hide what a library prints to stdout, including from C++."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        with open(os.devnull, "w") as file, contextlib.redirect_stdout(file):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
