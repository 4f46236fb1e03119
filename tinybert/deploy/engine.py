"""Opens a model folder with its engine."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from tinybert import runtime
from tinybert.errors import UserError

RECORD = "export.json"  # the description of an exported folder
MODEL = "model"  # the format of a regular model folder, which runs in Paddle with Python code
FORMATS = ("paddle", "onnx", "openvino")
PRECISIONS = ("float32", "bfloat16", "int8")
_MODULES = {MODEL: "dygraph", "paddle": "paddle_inference", "onnx": "onnx_runtime", "openvino": "open_vino"}
INPUTS = ("input_ids", "token_type_ids")


class Engine(Protocol):
    """A loaded model: `name` is the library and its version, `precision` one of `PRECISIONS`.

    batch_dependent: whether the answer to a row depends on the other rows of its batch.
    """

    name: str
    precision: str
    batch_dependent: bool

    def logits(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """The logits `[B, C]` float32 of rows `[B, T]` int64, padded with the tokenizer's padding id."""


class NamedInputs:
    """The inputs of a file, passed by name, without those that it does not have.

    Raises:
        UserError: it requires others.
    """

    def __init__(self, source: Path, names: Sequence[str]) -> None:
        unexpected = [name for name in names if name not in INPUTS]
        if unexpected:
            raise UserError(f"{source} requires {', '.join(unexpected)}; expected {' and '.join(INPUTS)}.")
        self.names = names

    def of(self, *arrays: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays of `INPUTS`, by name."""
        by_name = dict(zip(INPUTS, arrays, strict=True))
        return {name: by_name[name] for name in self.names}


class ExportSource(Protocol):
    """The inputs of an engine's export: the loaded model, the same as a float32 ONNX file, and calibration rows."""

    loaded: object

    @property
    def onnx(self) -> Path:
        """The model as ONNX, written on first use."""

    def calibration(self) -> list[dict[str, np.ndarray]]:
        """Training rows by input name, `[1, T]` each."""


def check_quantised(counts: dict[str, int]) -> None:
    """Reject a file that quantisation left partly in float32.

    Raises:
        UserError: it did.
    """
    if counts["products"] < counts["products_before"] or counts["tables_in_float"] or not counts["products"]:
        raise UserError(
            f"int8: {counts['products']} of {counts['products_before']} matrix products with weights were quantised and "
            f"{counts['tables_in_float']} embedding tables remained in float32. Nothing was written; please report this."
        )


def engine_module(form: str) -> ModuleType:
    """The module of a format's engine.

    Raises:
        UserError: its library is not installed; names the installation command.
    """
    return importlib.import_module(f"tinybert.deploy.engines.{_MODULES[form]}")


def read_record(folder: Path) -> dict | None:
    """The record written by `export`; None for a regular model folder.

    Raises:
        UserError: an export.json of another program, or the parent folder of several exports.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if isinstance(record, dict) and record.get("format") in FORMATS and record.get("precision") in PRECISIONS:
        return record
    inside = sorted(entry.parent.name for entry in folder.glob(f"*/{RECORD}"))
    if inside:
        raise UserError(f"{folder} contains several exports: {', '.join(inside)}\nGive one of them.")
    raise UserError(f"{path} is not an export record; expected one written by `tinybert export`.")


def open_engine(folder: Path, threads: int | None = None) -> Engine:
    """The engine of a regular or exported model folder, with this number of threads (None: all cores).

    Raises:
        UserError: no model, a missing library, or a file whose answers differ from those at export.
    """
    record = read_record(folder)
    module = engine_module(MODEL if record is None else record["format"])
    engine = module.open_engine(folder, record, threads or runtime.available_cores())
    if record is not None:
        _check_answers(engine, record, folder)
    return engine


def check_rows(pad_id: int, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Four fixed rows `[4, 16]` of decreasing length, whose second half is a second text."""
    random = np.random.default_rng(0)
    real = np.arange(16) < np.array([16, 13, 10, 8])[:, None]
    ids = random.integers(0, vocab_size, (4, 16))
    ids = np.where(ids == pad_id, (pad_id + 1) % vocab_size, ids)
    return np.where(real, ids, pad_id).astype(np.int64), (real & (np.arange(16) >= 5)).astype(np.int64)


def differs(engine: Engine, check: dict) -> str:
    """How the answers to the rows of a record differ from the recorded ones; empty if they do not."""
    expected = np.asarray(check["logits"], np.float32)
    found = engine.logits(*(np.asarray(check[name], np.int64) for name in INPUTS))
    if found.shape != expected.shape:
        return f"outputs of shape {list(found.shape)}, expected {list(expected.shape)}"
    difference = float(np.abs(found - expected).max())
    return "" if difference <= check["tolerance"] else f"logits differ by {difference:.3g}, expected at most {check['tolerance']:.3g}"


def _check_answers(engine: Engine, record: dict, folder: Path) -> None:
    """Compare with the recorded answers: another library version or processor may compute differently."""
    reason = differs(engine, record["check"])
    if reason:
        raise UserError(
            f"{folder} gives other outputs here than when it was exported: {reason}.\n"
            f"It was written with {record['engine']}, this is {engine.name}: export the model again here."
        )
