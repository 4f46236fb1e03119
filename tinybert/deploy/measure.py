"""Costs of engines, measured together in one process: time at fixed shapes; load time and peak memory in a separate process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert.data.store import TokenStore
from tinybert.deploy.engine import Engine
from tinybert.errors import UserError

SHAPES = ((1, 32), (1, 128), (32, 64))
_ROUNDS, _SECONDS = 30, 1.5  # maximum number of calls, and approximate time, per engine and shape
_WARM = 2  # calls that are not counted


def rows_of_shape(shape: tuple[int, int], vocab_size: int, special: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows without padding: int64 ids `[B, T]` above the special tokens, and segments of 0."""
    ids = np.random.default_rng(0).integers(min(special, vocab_size - 1), vocab_size, shape)
    return ids.astype(np.int64), np.zeros(shape, np.int64)


def side_by_side(engines: dict[str, Engine], inputs: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Median milliseconds per call, by engine and shape.

    inputs: by name; for an engine with its own vocabulary under `<shape>/<engine>`. The engines alternate, so that changes in the
    machine's speed affect all of them.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in engines}
    for shape in dict.fromkeys(name.split("/")[0] for name in inputs):
        spent: dict[str, list[float]] = {name: [] for name in engines}
        begun = time.perf_counter()
        for round_ in range(_ROUNDS + _WARM):
            for name, engine in engines.items():
                arrays = inputs.get(f"{shape}/{name}") or inputs[shape]
                started = time.perf_counter()
                engine.logits(*arrays)
                spent[name].append(time.perf_counter() - started)
            if round_ >= _WARM + 2 and time.perf_counter() - begun > _SECONDS * len(engines):
                break
        for name, values in spent.items():
            found[name][shape] = 1000 * statistics.median(values[_WARM:])
    return found


@dataclass(frozen=True)
class Reloaded:
    """Results from a new process: the logits `[N, C]` of the given rows, seconds to load, peak memory in megabytes."""

    logits: np.ndarray
    load_seconds: float
    peak_megabytes: float


def reload(folder: Path, store: TokenStore, threads: int) -> Reloaded:
    """Load a folder in a new process and run it on rows.

    Raises:
        UserError: the process failed; includes its output.
    """
    with tempfile.TemporaryDirectory() as name:
        rows, answers = Path(name) / "rows.npz", Path(name) / "answers.npz"
        layout = {"of_windows": store.windows is not None}
        if store.words is not None:
            layout |= {"labels": store.words.labels, "counts": store.words.counts}
        np.savez(rows, ids=store.ids, offsets=store.offsets, first=store.first, pad_id=store.pad_id, **layout)
        package = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "tinybert.deploy.reload", str(folder.resolve()), str(rows), str(answers), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing"]
            raise UserError(f"{folder} cannot be loaded in a new process (exit code {done.returncode}): {said[-1]}")
        facts = json.loads(done.stdout.strip().splitlines()[-1])
        with np.load(answers) as found:
            return Reloaded(found["logits"], facts["load_seconds"], facts["peak_megabytes"])


def megabytes(folder: Path) -> float:
    """The size of the files in a folder that are needed to run the model: weights and graph."""
    kept = (".onnx", ".xml", ".bin", ".pdparams", ".pdiparams", ".pdmodel", ".safetensors")
    files = [path for path in folder.iterdir() if path.is_file() and (path.suffix in kept or path.name == "inference.json")]
    return sum(path.stat().st_size for path in files) / 1e6
