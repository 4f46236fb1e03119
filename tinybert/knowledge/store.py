"""A teacher's knowledge of a token store, on disk: `knowledge.json` says of what, numbered folders hold it.

It takes the teacher's place in training: called with a batch, it returns what was stored of the batch's rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle

from tinybert.errors import UserError
from tinybert.knowledge.layout import Layout
from tinybert.knowledge.shard import Shard
from tinybert.models.trace import EncoderTrace, Inputs, Needs, Selected

FORMAT = 1
RECORD = "knowledge.json"
LOGITS_ONLY = "logits only"


def read_record(folder: Path) -> dict | None:
    """The content of knowledge.json; None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["identity"], record["rows"], record["shard_rows"]  # noqa: B018  they are needed
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): delete {folder}, or name another folder.") from None
    return record


def check_identity(folder: Path, record: dict, identity: dict) -> None:
    """Refuse stored knowledge of something else, with every difference named; logits are part of every selection.

    Raises:
        UserError: teacher, data, tokenizer, length or selection differ.
    """
    then = record["identity"]
    names = [name for name in identity if not (name == "selection" and identity[name] == LOGITS_ONLY)]
    different = [
        f"{name}: stored {_short(then.get(name))}, wanted {_short(identity[name])}" for name in names if then.get(name) != identity[name]
    ]
    if different:
        raise UserError(
            f"{folder} holds knowledge of something else:\n  " + "\n  ".join(different) + "\nName another folder, or delete this one."
        )


def _short(value: object) -> str:
    text = str(value)
    return text[:12] + "..." if len(text) == 64 and " " not in text else text


class StoredKnowledge:
    """Stored knowledge in a teacher's place: `needs` as of `Teacher`, called with a batch of the store it was made from.

    layout: how it is stored. Hidden states of which everything was stored are found under `hidden` of the trace, padded with 0; whatever
    was selected under `selected`.
    """

    def __init__(self, folder: Path, record: dict, layout: Layout, needs: Needs) -> None:
        self.folder, self.record, self.layout, self.needs = folder, record, layout, needs
        self._shards: dict[int, Shard] = {}

    def __len__(self) -> int:
        return self.record["rows"]

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            self._shards[number] = Shard.open(shard_folder(self.folder, number), self.layout)
        return self._shards[number]

    def _places(self, rows: np.ndarray) -> list[tuple[Shard, int]]:
        numbers, within = np.divmod(rows, self.record["shard_rows"])
        return [(self._shard(int(number)), int(row)) for number, row in zip(numbers, within, strict=True)]

    def logits(self) -> np.ndarray:
        """The teacher's logits of all rows, `[N, C]`."""
        shards = range(-(-len(self) // self.record["shard_rows"]))
        return np.concatenate([self._shard(number).logits for number in shards])

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """What was stored of the batch's rows."""
        if not self.needs:
            return None
        trace = EncoderTrace()
        places = self._places(inputs.rows)
        if self.needs.logits:
            trace.logits = paddle.to_tensor(np.stack([shard.logits[row] for shard, row in places]))
        if self.needs.hidden:
            width = inputs.input_ids.shape[1]
            selection = self.layout.selection
            trace.selected = {s: self._selected(s, places, width) for s, _ in selection.pairs}
            if selection.tokens.scheme == selection.width.scheme == "none":
                trace.hidden = {t: trace.selected[s].values for s, t in selection.pairs}
        return trace

    def _selected(self, s: int, places: list[tuple[Shard, int]], padded: int) -> Selected:
        """The knowledge of student entry `s` for the rows at `places` of a batch that is `padded` wide."""
        selection, dims = self.layout.selection, self.layout.width
        counts = np.array([shard.counts[row] for shard, row in places])
        slots = padded if selection.tokens.scheme == "none" else int(counts.max())
        values = np.zeros((len(places), slots * dims), np.float32)
        kept = np.zeros_like(values) if selection.width.dynamic else None
        fixed = np.array(selection.width.dims) if selection.width.dims else None
        positions = None
        if selection.tokens.scheme != "none":
            positions = np.tile(np.arange(slots), (len(places), 1))
        for i, (shard, row) in enumerate(places):
            own = shard.part(f"values_{s}", row)
            if kept is not None:
                indices = shard.part(f"indices_{s}", row)
                values[i, indices] = own
                kept[i, indices] = 1.0
            elif fixed is not None:
                values[i, : counts[i] * dims].reshape(-1, dims)[:, fixed] = own.reshape(-1, len(fixed))
            else:
                values[i, : own.size] = own
            if selection.tokens.reads_scores:
                positions[i, : counts[i]] = shard.part(f"positions_{s}", row)
                positions[i, counts[i] :] = 0
        shape = (len(places), slots, dims)
        if fixed is not None:
            kept = np.zeros(dims, np.float32)
            kept[fixed] = 1.0
        elif kept is not None:
            kept = kept.reshape(shape)
        return Selected(
            paddle.to_tensor(values.reshape(shape)),
            None if positions is None else paddle.to_tensor(positions),
            paddle.to_tensor((np.arange(slots) < counts[:, None]).astype(np.float32)),
            None if kept is None else paddle.to_tensor(kept),
        )


def shard_folder(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"{number:05d}"
