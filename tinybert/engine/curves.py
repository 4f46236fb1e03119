"""Writes the lines of log.jsonl as curves and heat maps for VisualDL."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tinybert import storage

_CELL = 12  # pixels a side
_COLUMNS = 128  # of a heat map over time


def remove_curves(folder: Path) -> None:
    """Delete VisualDL's records in a folder, and the folder if it is then empty."""
    for old in folder.glob("vdlrecords.*.log"):
        old.unlink(missing_ok=True)
    storage.remove_empty([folder])


class Curves:
    """VisualDL's record of one stage.

    VisualDL only shows the newest record of a folder, so a resumed run writes its earlier lines again.
    """

    def __init__(self, folder: Path, lines: Iterable[dict] = ()) -> None:
        from visualdl import LogWriter

        remove_curves(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = LogWriter(logdir=str(folder))
        self._vectors: dict[str, list[np.ndarray]] = {}
        self._seen: dict[str, int] = {}
        for line in lines:
            self.add(line)

    def add(self, line: dict) -> None:
        """Numbers become points of curves; arrays of `arrays` events become heat maps: matrices directly, vectors over time."""
        if line.get("event") == "arrays":
            for name, array in line["arrays"].items():
                self._draw(name, np.asarray(array, dtype="float64"), line["step"])
            return
        kind = "dev" if line.get("event") == "evaluation" else "train"
        for name, value in line.items():
            if isinstance(value, int | float) and name not in ("step", "time"):
                self._writer.add_scalar(f"{kind}/{name}", value, line["step"])

    def _draw(self, name: str, array: np.ndarray, step: int) -> None:
        if array.ndim == 1:
            seen = self._vectors.setdefault(name, [])
            seen.append(array)
            for i, value in enumerate(array):
                self._writer.add_scalar(f"{name}/{i + 1}", float(value), step)
        self._seen[name] = count = self._seen.get(name, 0) + 1
        if count % max(1, 2 ** (count.bit_length() - 5)):  # 16 pictures per doubling of the number of lines: long runs have many
            return
        if array.ndim == 1:
            array = np.stack([seen[i] for i in np.unique(np.linspace(0, len(seen) - 1, _COLUMNS).astype(int))], axis=1)
        self._writer.add_image(name, _heat_map(array), step)

    def close(self) -> None:
        """Write what is still buffered."""
        self._writer.close()


def _heat_map(matrix: np.ndarray) -> np.ndarray:
    """Map `[R, C]`, not negative, to pixels `[R * 12, C * 12, 3]` (uint8), from dark (0) to bright (the maximum)."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"](matrix / max(float(matrix.max()), 1e-12))[..., :3]
    return (255 * colours).astype("uint8").repeat(_CELL, axis=0).repeat(_CELL, axis=1)
