"""A teacher that computes the trace of each row once and stores it for later epochs and runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import paddle

from tinybert.errors import UserError
from tinybert.log import logger
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.traces.parts import RowParts
from tinybert.traces.trace_store import TraceStore, row_key

LiveTeacher = Callable[[Inputs], EncoderTrace]


class StoredTeacher:
    """Called with a batch like `Teacher`; returns stored traces, and runs the live teacher for missing rows.

    parts_of: from the needs of the objective to the stored parts of a row. load: from needs to a live teacher; called only if a row is
    missing; None if the teacher has no weights. name: of the teacher. Traces are always rounded to the store's type, so the weights are
    the same whether a run found or filled the store. If the disk is full, storing stops with a warning and the run continues.
    `seconds`: spent on missing rows.

    Raises:
        UserError: a row is missing and there are no teacher weights to compute it.
    """

    def __init__(
        self,
        store: TraceStore,
        needs: Needs,
        parts_of: Callable[[Needs], RowParts],
        load: Callable[[Needs], LiveTeacher] | None,
        name: str = "the teacher",
    ) -> None:
        self.store, self._parts_of, self._load, self.name = store, parts_of, load, name
        self._live: dict[Needs, LiveTeacher] = {}
        self._writes = True
        self.read_rows = self.computed_rows = self.read_in_a_row = 0
        self.seconds = 0.0
        self.needs = needs

    @property
    def needs(self) -> Needs:
        """What a trace contains."""
        return self._needs

    @needs.setter
    def needs(self, needs: Needs) -> None:
        self._needs, self.parts = needs, self._parts_of(needs)

    def release(self) -> None:
        """Unload the live teacher; it is loaded again if a row is missing."""
        self._live.clear()

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """The teacher's trace of a micro-batch, without gradients; None if the objective does not need it."""
        if not self.needs:
            return None
        ids, segments = inputs.input_ids.numpy(), inputs.token_type_ids.numpy()
        lengths = inputs.attention_mask.numpy().sum(1).astype(np.int64)
        keys = [row_key(ids[i, :length], segments[i, :length]) for i, length in enumerate(lengths)]
        names = self.parts.names
        found = {key: self.store.read(key, self.parts) for key in keys}
        if any(len(data) < len(names) for data in found.values()):
            self.store.refresh()
            found = {key: data if len(data) == len(names) else self.store.read(key, self.parts) for key, data in found.items()}
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        rows = np.array(sorted(first[key] for key, data in found.items() if len(data) < len(names)), np.int64)
        if len(rows):
            self._compute(inputs, rows, [keys[row] for row in rows], lengths[rows], found)
        self.computed_rows += len(rows)
        self.read_rows += len(keys) - len(rows)
        self.read_in_a_row = 0 if len(rows) else self.read_in_a_row + len(keys)
        return self.parts.decode([found[key] for key in keys], lengths, ids.shape[1])

    def _compute(
        self, inputs: Inputs, rows: np.ndarray, keys: list[bytes], lengths: np.ndarray, found: dict[bytes, dict[str, memoryview]]
    ) -> None:
        """Run the teacher on some rows of a batch, and add their missing parts to `found` and to the store."""
        if self._load is None:
            raise UserError(self._cause(keys[0], found[keys[0]]))
        if self.parts.needs not in self._live:
            self._live[self.parts.needs] = self._load(self.parts.needs)
        started = time.perf_counter()
        some = inputs if len(rows) == len(inputs.input_ids) else _rows_of(inputs, rows, int(lengths.max()))
        with paddle.no_grad():
            encoded = self.parts.encode(self._live[self.parts.needs](some), some, lengths)
        missing: dict[tuple[str, ...], list[int]] = {}
        for i, key in enumerate(keys):
            missing.setdefault(tuple(name for name in self.parts.names if name not in found[key]), []).append(i)
            found[key] = self.parts.split(encoded[i], int(lengths[i])) | found[key]
        if self._writes:
            try:
                for names, of in missing.items():
                    data = [b"".join(found[keys[i]][name] for name in names) for i in of]
                    self.store.append(self.parts.only(names), [keys[i] for i in of], lengths[of], data)
            except OSError as error:
                self._writes = False
                logger.warning(f"teacher traces are no longer stored ({error}); the teacher now runs with the student")
        self.seconds += time.perf_counter() - started

    def _cause(self, key: bytes, found: dict[str, memoryview]) -> str:
        """Why a row cannot be read, as text for the user."""
        stored, missing = self.store.names_of(key), ", ".join(_readable(name) for name in self.parts.names if name not in found)
        if stored is None:
            return (
                f"a row is not among the stored teacher traces, and {self.name} has no weights to compute it with\n"
                "use the data that filled the store, or provide the teacher's weights"
            )
        if not stored:
            return (
                f"a row of the stored teacher traces is damaged, and {self.name} has no weights to compute it with\n"
                "use an undamaged copy of the store, or provide the teacher's weights"
            )
        return (
            f"the stored teacher traces lack {missing}, and {self.name} has no weights to compute it with\n"
            f"stored: {', '.join(map(_readable, stored))}\n"
            "use the layers, selection and --teacher_traces_dtype that filled the store, or provide the teacher's weights"
        )


def _readable(name: str) -> str:
    """A part's full name with NumPy's name of the type; that of a selection has no type."""
    part, _, dtype = name.partition(" ")
    return f"{part} {np.dtype(dtype).name}" if dtype else part


def _rows_of(inputs: Inputs, rows: np.ndarray, width: int) -> Inputs:
    at = paddle.to_tensor(rows)
    ids, segments, mask = (
        paddle.index_select(array[:, :width], at) for array in (inputs.input_ids, inputs.token_type_ids, inputs.attention_mask)
    )
    return dataclasses.replace(
        inputs, input_ids=ids, token_type_ids=segments, attention_mask=mask, labels=None, rows=None, padded=not mask.numpy().all()
    )
