"""What engines cost, side by side in one process: time at fixed shapes, load time and peak memory in a process of their own."""

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
_ROUNDS, _SECONDS = 30, 1.5  # at most so many calls, and about so long, for an engine at a shape
_WARM = 2  # calls that are not counted


def rows_of_shape(shape: tuple[int, int], vocab_size: int, special: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows without padding: int64 ids `[B, T]` above the special word pieces, and segments of 0."""
    ids = np.random.default_rng(0).integers(min(special, vocab_size - 1), vocab_size, shape)
    return ids.astype(np.int64), np.zeros(shape, np.int64)


def side_by_side(
    engines: dict[str, Engine], inputs: dict[str, tuple[np.ndarray, np.ndarray]], rounds: int = _ROUNDS, seconds: float = _SECONDS
) -> dict[str, dict[str, float]]:
    """Median milliseconds of a call, by engine and shape.

    inputs: by name; for an engine of its own vocabulary under `<shape>/<engine>`. The engines take turns, so that a change in the
    machine's speed meets all of them.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in engines}
    for shape in dict.fromkeys(name.split("/")[0] for name in inputs):
        spent: dict[str, list[float]] = {name: [] for name in engines}
        begun = time.perf_counter()
        for round_ in range(rounds + _WARM):
            for name, engine in engines.items():
                arrays = inputs.get(f"{shape}/{name}") or inputs[shape]
                started = time.perf_counter()
                engine.logits(*arrays)
                spent[name].append(time.perf_counter() - started)
            if round_ >= _WARM + 2 and time.perf_counter() - begun > seconds * len(engines):
                break
        for name, values in spent.items():
            found[name][shape] = 1000 * statistics.median(values[_WARM:])
    return found


@dataclass(frozen=True)
class Reloaded:
    """What a new process found: the logits `[N, C]` of the rows it was given, seconds to load, megabytes at the most."""

    logits: np.ndarray
    load_seconds: float
    peak_megabytes: float


def reload(folder: Path, store: TokenStore, threads: int) -> Reloaded:
    """Load a folder in a new process and have it answer rows.

    Raises:
        UserError: the process failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as name:
        rows, answers = Path(name) / "rows.npz", Path(name) / "answers.npz"
        words = {} if store.words is None else {"labels": store.words.labels, "counts": store.words.counts}
        np.savez(rows, ids=store.ids, offsets=store.offsets, first=store.first, pad_id=store.pad_id, **words)
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


def megabytes(folder: Path, names: tuple[str, ...] = ()) -> float:
    """The size of a folder's files that a model is loaded from: weights, graph and vocabulary."""
    kept = (".onnx", ".xml", ".bin", ".pdparams", ".pdiparams", ".pdmodel", ".safetensors")
    files = [path for path in folder.iterdir() if path.is_file() and (path.suffix in kept or path.name in ("inference.json", *names))]
    return sum(path.stat().st_size for path in files) / 1e6
