"""One file of stored knowledge: the rows from `begin` on, written whole and mapped into memory to be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.errors import UserError
from tinybert.knowledge.layout import LOGITS, VALUES, Layout
from tinybert.models.trace import EncoderTrace, Selected

_ALIGNED = 64  # bytes


class ShardWriter:
    """Collects the knowledge of rows in any order and writes it in theirs."""

    def __init__(self, layout: Layout, rows: int) -> None:
        self.layout = layout
        self.logits = np.zeros((rows, layout.outputs), LOGITS)
        self.counts = np.zeros(rows, layout.positions)
        self.rows: dict[str, list[np.ndarray | None]] = {}
        for s, _ in layout.selection.pairs:
            kinds = ("values", *(("positions",) if layout.selection.tokens.reads_scores else ()))
            for kind in (*kinds, *(("indices",) if layout.selection.width.dynamic else ())):
                self.rows[f"{kind}_{s}"] = [None] * rows

    def add(self, rows: np.ndarray, trace: EncoderTrace, selected: dict[int, Selected]) -> None:
        """Take the knowledge of a batch; `rows` counts from the shard's first row."""
        self.logits[rows] = trace.logits.astype("float32").numpy()
        for s, chosen in selected.items():
            counts = chosen.real.numpy().sum(1).astype(np.int64)
            self.counts[rows] = counts
            values = chosen.values.numpy()
            kept = None if chosen.kept is None else chosen.kept.numpy() > 0
            positions = chosen.positions.numpy() if self.layout.selection.tokens.reads_scores else None
            for i, (row, count) in enumerate(zip(rows, counts, strict=True)):
                own = values[i, :count]
                if positions is not None:
                    self.rows[f"positions_{s}"][row] = positions[i, :count].astype(self.layout.positions)
                if kept is not None and kept.ndim == 3:
                    indices = np.flatnonzero(kept[i, :count])
                    self.rows[f"indices_{s}"][row] = indices.astype(self.layout.indices)
                    own = own.ravel()[indices]
                elif kept is not None:
                    own = own[:, kept]
                self.rows[f"values_{s}"][row] = own.astype(VALUES).ravel()

    def write(self, folder: Path) -> None:
        """Write `arrays.bin` and `layout.json` into a folder.

        Raises:
            UserError: a hidden state is too large for float16.
        """
        arrays = {"logits": self.logits.ravel()}
        if self.rows:
            arrays["counts"] = self.counts
        arrays |= {name: np.concatenate(parts) for name, parts in self.rows.items()}
        places, end = {}, 0
        with open(folder / "arrays.bin", "wb") as file:
            for name, array in arrays.items():
                if array.dtype == VALUES and not np.isfinite(array).all():
                    raise UserError(
                        "a hidden state of the teacher is above 65504: it cannot be stored in float16.\nTrain with the teacher."
                    )
                file.write(b"\0" * (-end % _ALIGNED))
                begin = end + -end % _ALIGNED
                file.write(array.tobytes())
                end = begin + array.nbytes
                places[name] = {"offset": begin, "dtype": array.dtype.str, "count": int(array.size)}
        storage.write_json(folder / "layout.json", places)


@dataclass
class Shard:
    """The mapped arrays of a shard, and where each row begins in them."""

    logits: np.ndarray
    counts: np.ndarray
    arrays: dict[str, np.ndarray]
    positions_at: np.ndarray
    values_at: np.ndarray

    @classmethod
    def open(cls, folder: Path, layout: Layout) -> Shard:
        """Map a shard; its checksum has been verified before."""
        places = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
        raw = np.memmap(folder / "arrays.bin", np.uint8, "r")
        arrays = {}
        for name, place in places.items():
            kind = np.dtype(place["dtype"])
            arrays[name] = raw[place["offset"] : place["offset"] + place["count"] * kind.itemsize].view(kind)
        logits = arrays.pop("logits").reshape(-1, layout.outputs)
        counts = arrays.pop("counts", np.zeros(len(logits), layout.positions)).astype(np.int64)
        entries = layout.selection.width.counts(counts, layout.width)
        return cls(logits, counts, arrays, _starts(counts), _starts(entries))

    def part(self, name: str, row: int) -> np.ndarray:
        """The numbers of one row: `positions_<entry>`, `values_<entry>` or `indices_<entry>`."""
        at = self.positions_at if name.startswith("positions") else self.values_at
        return self.arrays[name][at[row] : at[row + 1]]


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def is_whole(folder: Path) -> bool:
    """Whether a shard is there and agrees with its checksums."""
    try:
        storage.verify(folder)
    except storage.DamagedError:
        return False
    return True
