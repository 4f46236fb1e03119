"""The binary layout of a row of teacher traces: its parts, their shapes, encoding and decoding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from tinybert.errors import UserError
from tinybert.models.trace import EncoderTrace, Inputs, Needs, Selected
from tinybert.traces.selection import Selection

LOGITS = "logits"
SELECTED = "selected"
QKV = ("query", "key", "value")


@dataclass(frozen=True)
class Part:
    """One array of a row.

    name: `hidden:3`, `scores:2`, `query:0`, `key:0`, `value:0`, `pooled`, `logits`. shape: of one row, with -1 for its length T.
    dtype: in NumPy's notation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def full_name(self) -> str:
        """The name including the type, because parts of different types are distinct."""
        return f"{self.name} {self.dtype}"

    def sizes(self, length: int) -> tuple[int, ...]:
        """The shape for a row of `length` tokens."""
        return tuple(length if size < 0 else size for size in self.shape)

    def bytes(self, length: int) -> int:
        """The number of bytes for a row of `length` tokens."""
        return int(np.prod(self.sizes(length), dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def encode(self, array: np.ndarray, row: int, length: int) -> bytes:
        """One row of a padded batch `[B, ...]` in this part's type, without padding."""
        return array[(row, *(slice(length if size < 0 else None) for size in self.shape))].tobytes()


@dataclass(frozen=True)
class SelectedPart:
    """The selected hidden states of a row for `--method mud`; the size depends on the number of selected positions.

    width: D of the teacher. dtype: of the hidden entries.
    """

    selection: Selection
    width: int
    dtype: str

    @property
    def name(self) -> str:
        """Unique for each selection."""
        text = json.dumps([describe_selection(self.selection), self.width, self.dtype], sort_keys=True)
        return f"{SELECTED}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def bytes(self, length: int) -> int:
        """The number of bytes for a row of `length` tokens with one separator and no position skipped."""
        tokens = self.selection.tokens
        return self._bytes(int(tokens.counts(np.array([length]), np.array([1]))[0]))

    def _bytes(self, count: int) -> int:
        entries = int(self.selection.width.counts(np.array([count]), self.width)[0])
        each = entries * (np.dtype(self.dtype).itemsize + (4 if self.selection.width.dynamic else 0))
        return 4 + len(self.selection.pairs) * (each + (2 * count if self.selection.tokens.reads_scores else 0))

    def encode(self, chosen: dict[int, Selected]) -> list[bytes]:
        """The selected part of every row of a batch: the number of positions, then positions, indices and values of each pair."""
        arrays = [
            (
                None if not self.selection.tokens.reads_scores else part.positions.numpy(),
                None if part.kept is None else part.kept.astype("float32").numpy() > 0,
                _narrowed(part.values, self.dtype),
                part.real.astype("float32").numpy().sum(1).astype(np.int64),
            )
            for part in chosen.values()
        ]
        return [self._encode_row(arrays, row) for row in range(len(arrays[0][3]))]

    def _encode_row(self, arrays: list, row: int) -> bytes:
        count = int(arrays[0][3][row])
        pieces = [np.uint32(count).tobytes()]
        for positions, kept, values, _ in arrays:
            own = values[row, :count]
            if positions is not None:
                pieces.append(positions[row, :count].astype(np.uint16).tobytes())
            if kept is not None and kept.ndim == 3:
                indices = np.flatnonzero(kept[row, :count])
                pieces.append(indices.astype(np.uint32).tobytes())
                own = own.ravel()[indices]
            elif kept is not None:
                own = own[:, kept]
            pieces.append(np.ascontiguousarray(own).tobytes())
        return b"".join(pieces)

    def decode(self, rows: Sequence[bytes], padded: int) -> dict[int, Selected]:
        """`Selected` of a batch whose rows are padded to `padded` tokens."""
        selection, dims = self.selection, self.width
        counts = np.array([int(np.frombuffer(row, np.uint32, 1)[0]) for row in rows])
        slots = padded if selection.tokens.scheme == "none" else int(counts.max())
        at = [4] * len(rows)
        real = paddle.to_tensor((np.arange(slots) < counts[:, None]).astype(np.float32))
        return {s: self._decode_pair(rows, counts, at, slots, dims, real) for s, _ in selection.pairs}

    def _decode_pair(
        self, rows: Sequence[bytes], counts: np.ndarray, at: list[int], slots: int, dims: int, real: paddle.Tensor
    ) -> Selected:
        width, fixed = self.selection.width, list(self.selection.width.dims)
        values = np.zeros((len(rows), slots, dims), np.float32)
        kept = np.zeros_like(values) if width.dynamic else None
        positions = None if self.selection.tokens.scheme == "none" else np.tile(np.arange(slots), (len(rows), 1))

        def take(row: int, dtype: str | type, count: int) -> np.ndarray:
            array = np.frombuffer(rows[row], dtype, count, at[row])
            at[row] += array.nbytes
            return array

        for i, count in enumerate(counts):
            entries = int(width.counts(np.array([count]), dims)[0])
            if self.selection.tokens.reads_scores:
                positions[i] = 0
                positions[i, :count] = take(i, np.uint16, count)
            if kept is not None:
                indices = take(i, np.uint32, entries)
                values[i].reshape(-1)[indices] = take(i, self.dtype, entries)
                kept[i].reshape(-1)[indices] = 1.0
            elif fixed:
                values[i, :count, fixed] = take(i, self.dtype, entries).reshape(-1, len(fixed)).T
            else:
                values[i, :count] = take(i, self.dtype, entries).reshape(-1, dims)
        if fixed and not width.dynamic:
            kept = np.zeros(dims, np.float32)
            kept[fixed] = 1.0
        return Selected(
            paddle.to_tensor(values),
            None if positions is None else paddle.to_tensor(positions),
            real,
            None if kept is None else paddle.to_tensor(kept),
        )


@dataclass(frozen=True)
class RowParts:
    """All stored parts of one row, in byte order; a selection comes last."""

    parts: tuple[Part, ...]
    selected: SelectedPart | None = None

    @classmethod
    def of(
        cls, needs: Needs, config: object, outputs: int, dtype: str, selection: Selection | None = None, whole: Needs | None = None
    ) -> RowParts:
        """The parts that `needs` requires of a teacher with this configuration.

        outputs: C of the logits, which are kept in float32. A selection that omits something replaces hidden states, scores, queries, keys
        and values other than those in `whole`.
        """
        width, heads = config.hidden_size, config.num_attention_heads
        of_head = getattr(config, "attention_head_size", None) or width // heads
        type_of = np.dtype(dtype).str
        selected = SelectedPart(selection, width, type_of) if selection is not None and selection.reduces and needs.hidden else None
        each = needs if selected is None else whole or Needs()
        found = [Part(f"hidden:{entry}", (-1, width), type_of) for entry in sorted(each.hidden)]
        found += [Part(f"scores:{layer}", (heads, -1, -1), type_of) for layer in sorted(each.scores)]
        found += [Part(f"{name}:{layer}", (heads, -1, of_head), type_of) for layer in sorted(each.qkv) for name in QKV]
        if needs.pooled:
            found.append(Part("pooled", (width,), type_of))
        if needs.logits:
            found.append(Part(LOGITS, (outputs,), "<f4"))
        return cls(tuple(found), selected)

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of all parts."""
        return (*(part.full_name for part in self.parts), *([self.selected.name] if self.selected else []))

    @property
    def needs(self) -> Needs:
        """What a trace must contain to be encoded."""
        found = self.selected.selection.needs if self.selected else Needs()
        for part in self.parts:
            kind, _, number = part.name.partition(":")
            layers = frozenset([int(number)]) if number else frozenset()
            found |= Needs(
                hidden=layers if kind == "hidden" else frozenset(),
                scores=layers if kind == "scores" else frozenset(),
                qkv=layers if kind in QKV else frozenset(),
                pooled=kind == "pooled",
                logits=kind == LOGITS,
            )
        return found

    def only(self, names: Sequence[str]) -> RowParts:
        """The parts with these full names."""
        selected = self.selected if self.selected is not None and self.selected.name in names else None
        return RowParts(tuple(part for part in self.parts if part.full_name in names), selected)

    def bytes(self, length: int) -> int:
        """The number of bytes of a row of `length` tokens."""
        return sum(part.bytes(length) for part in (*self.parts, *([self.selected] if self.selected else [])))

    def encode(self, trace: EncoderTrace, inputs: Inputs, lengths: np.ndarray) -> list[bytes]:
        """The bytes of every row of a batch.

        Raises:
            UserError: a value is too large for float16.
        """
        arrays = [_narrowed(_part_of(trace, part.name), part.dtype) for part in self.parts]
        rows = [
            b"".join(part.encode(array, row, int(length)) for part, array in zip(self.parts, arrays, strict=True))
            for row, length in enumerate(lengths)
        ]
        if self.selected is None:
            return rows
        chosen = self.selected.encode(self.selected.selection.of(trace, inputs))
        return [row + more for row, more in zip(rows, chosen, strict=True)]

    def split(self, row: bytes, length: int) -> dict[str, memoryview]:
        """The bytes of one row by full part name."""
        places = part_places(self.parts, self.selected.name if self.selected else None, length)
        return {name: memoryview(row)[slice(*place)] for name, place in places.items()}

    def decode(self, rows: Sequence[dict[str, memoryview]], lengths: np.ndarray, padded: int) -> EncoderTrace:
        """The trace of a batch from the bytes of its rows by part name, zero-padded to `padded` tokens."""
        trace = EncoderTrace()
        for part, name in zip(self.parts, self.names, strict=False):
            array = np.zeros((len(rows), *part.sizes(padded)), np.float32)
            for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                own = np.frombuffer(row[name], part.dtype).reshape(part.sizes(int(length)))
                array[(i, *(slice(length if size < 0 else None) for size in part.shape))] = own
            kind, _, number = part.name.partition(":")
            if number:
                getattr(trace, kind)[int(number)] = paddle.to_tensor(array)
            else:
                setattr(trace, kind, paddle.to_tensor(array))
        if self.selected is not None:
            trace.selected = self.selected.decode([row[self.selected.name] for row in rows], padded)
        return trace


def part_places(parts: Sequence[Part], last: str | None, length: int) -> dict[str, tuple[int, int | None]]:
    """The byte range of each part in a row of `length` tokens, by `full_name`; `last` is a selection, which extends to the end."""
    found, at = {}, 0
    for part in parts:
        found[part.full_name] = (at, at + part.bytes(length))
        at += part.bytes(length)
    return found if last is None else {**found, last: (at, None)}


def _part_of(trace: EncoderTrace, name: str) -> paddle.Tensor:
    kind, _, number = name.partition(":")
    return getattr(trace, kind)[int(number)] if number else getattr(trace, kind)


def _narrowed(tensor: paddle.Tensor, dtype: str) -> np.ndarray:
    array = tensor.astype("float32").numpy()  # Paddle's bfloat16 becomes uint16 in NumPy
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if not np.isfinite(narrow).all():
        raise UserError(
            "a value of the teacher's traces is too large for float16 or not finite\n"
            "add --teacher_traces_dtype float32, or train with --teacher_traces live"
        )
    return narrow


def describe_selection(selection: Selection) -> dict:
    """A selection as plain values."""
    tokens, width = selection.tokens, selection.width
    return {
        "layers": ", ".join(f"{s}:{t}" for s, t in selection.pairs),
        "tokens": tokens.scheme if tokens.scheme == "none" else f"{tokens.scheme} {tokens.keep}",
        "token layers": list(selection.attention) if tokens.reads_scores else None,
        "separator": tokens.sep_id if tokens.scheme == "attention_no_sep" else None,
        "hidden entries": f"{width.scheme} {width.keep:g}" if width.dynamic else width.scheme,
        "dimensions": list(width.dims) or None,
    }
