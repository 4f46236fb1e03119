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
    missing. Traces are always rounded to the store's type, so the weights are the same whether a run found or filled the store.
    If the disk is full, storing stops with a warning and the run continues. `seconds`: spent on missing rows.

    Raises:
        UserError: a row is missing and there are no teacher weights to compute it.
    """

    def __init__(
        self, store: TraceStore, needs: Needs, parts_of: Callable[[Needs], RowParts], load: Callable[[Needs], LiveTeacher]
    ) -> None:
        self.store, self._parts_of, self._load = store, parts_of, load
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
        found = {key: self.store.read(key, self.parts) for key in keys}
        if None in found.values():
            self.store.refresh()
            found = {key: data or self.store.read(key, self.parts) for key, data in found.items()}
        first = {key: i for i, key in reversed(list(enumerate(keys)))}
        rows = np.array(sorted(first[key] for key, data in found.items() if data is None), np.int64)
        if len(rows):
            found |= self._compute(inputs, rows, [keys[row] for row in rows], lengths[rows])
        self.computed_rows += len(rows)
        self.read_rows += len(keys) - len(rows)
        self.read_in_a_row = 0 if len(rows) else self.read_in_a_row + len(keys)
        return self.parts.decode([found[key] for key in keys], lengths, ids.shape[1])

    def _compute(self, inputs: Inputs, rows: np.ndarray, keys: list[bytes], lengths: np.ndarray) -> dict[bytes, dict[str, memoryview]]:
        """Run the teacher on some rows of a batch and store the results."""
        if self.parts.needs not in self._live:
            self._live[self.parts.needs] = self._load(self.parts.needs)
        started = time.perf_counter()
        some = inputs if len(rows) == len(inputs.input_ids) else _rows_of(inputs, rows, int(lengths.max()))
        with paddle.no_grad():
            encoded = self.parts.encode(self._live[self.parts.needs](some), some, lengths)
        if self._writes:
            try:
                self.store.append(self.parts, keys, lengths, encoded)
            except OSError as error:
                self._writes = False
                logger.warning(f"teacher traces are no longer stored ({error}); the teacher now runs with the student")
        self.seconds += time.perf_counter() - started
        return {key: self.parts.split(row, int(length)) for key, row, length in zip(keys, encoded, lengths, strict=True)}


def no_weights(source: object) -> Callable[[Needs], LiveTeacher]:
    """A `load` function for a teacher without weights."""

    def refuse(needs: Needs) -> LiveTeacher:
        raise UserError(
            f"a row is not among the stored teacher traces, and {source} has no weights to compute it with\n"
            "use the data that filled the store, or provide the teacher's weights"
        )

    return refuse


def _rows_of(inputs: Inputs, rows: np.ndarray, width: int) -> Inputs:
    at = paddle.to_tensor(rows)
    ids, segments, mask = (
        paddle.index_select(array[:, :width], at) for array in (inputs.input_ids, inputs.token_type_ids, inputs.attention_mask)
    )
    return dataclasses.replace(
        inputs, input_ids=ids, token_type_ids=segments, attention_mask=mask, labels=None, rows=None, padded=not mask.numpy().all()
    )
