"""Assigns rows to training steps, and pads them to arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinybert import runtime
from tinybert.data.permutation import Permutation, ShuffledRows
from tinybert.data.store import Rows
from tinybert.data.tagged import NO_WORD
from tinybert.errors import UserError
from tinybert.log import logger

CHUNK_STEPS = 64  # steps whose rows are sorted by length together
Order = np.ndarray | ShuffledRows
Steps = np.ndarray | range | Permutation


@dataclass
class Batch:
    """One padded micro-batch.

    `rows` int64 `[B]` (positions in the store), `input_ids` int64 `[B, T]`, `token_type_ids` int64 `[B, T]`, `attention_mask` float32 `[B,
    T]` (1 for tokens, 0 for padding), `labels` int64 `[B]`, float32 `[B]` or `[B, C]`, or None; for token labels int64 `[B, T]`, negative
    where there is nothing to predict.
    `share` is this micro-batch's fraction of the whole optimizer step, over all its micro-batches and ranks: of its "rows", of its "tokens"
    without padding, of its "token_pairs" (sum of squared lengths), of its labelled "words". The sum of share x local mean is the mean over
    the step. A share of 0 marks a placeholder: a row of another micro-batch, repeated so that every rank makes the same number of
    forward passes.
    """

    rows: np.ndarray
    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray
    labels: np.ndarray | None
    share: dict[str, float]


def _sums(store: Rows, rows: np.ndarray | slice) -> dict[str, int]:
    wide = store.lengths[rows].astype(np.int64)
    more = {} if store.words is None else {"words": int(store.words.counts[rows].sum())}
    return {"rows": len(wide), "tokens": int(wide.sum()), "token_pairs": int((wide * wide).sum()), **more}


def _shares(part: dict[str, int], total: dict[str, int]) -> dict[str, float]:
    return {name: part[name] / max(1, total[name]) for name in total}  # sentences without words have a total of 0


def assemble(store: Rows, rows: np.ndarray, width: int, share: dict[str, float]) -> Batch:
    """Gather rows `[B]` of a store and pad them to `[B, width]`."""
    lengths = store.lengths[rows].astype(np.int64)
    columns = np.arange(width)
    real = columns < lengths[:, None]
    input_ids = np.full((len(rows), width), store.pad_id, np.int64)
    input_ids[real], of_tokens = store.tokens_and_labels(rows)
    labels = None if store.labels is None else _batch_labels(store.labels[rows])
    if of_tokens is not None:
        labels = np.full((len(rows), width), NO_WORD, np.int64)
        labels[real] = of_tokens
    second = real & (columns >= store.first[rows].astype(np.int64)[:, None])
    return Batch(
        rows=rows,
        input_ids=input_ids,
        token_type_ids=second.astype(np.int64),
        attention_mask=real.astype(np.float32),
        labels=labels,
        share=share,
    )


def _batch_labels(labels: np.ndarray) -> np.ndarray:
    """Labels in the form that losses need: label sets, stored as bytes, as float32, positions as int64."""
    wanted = {np.dtype(np.uint8): np.float32, np.dtype(np.int32): np.int64}.get(labels.dtype)
    return np.asarray(labels) if wanted is None else labels.astype(wanted)


class Batches:
    """The batches of one store, accessible by epoch and step.

    `batch_size` is per device and micro-batch: one step takes batch_size x `accumulation` x `world` rows. The order depends only on `seed`
    and epoch, so a resumed run needs no replay. With `bucket`, rows of similar length share a step: the shuffled rows of 64 steps are
    sorted by length, split into steps, and the steps of the epoch are shuffled. All micro-batches of a step are padded to its longest row,
    or to `pad_to` (bucketing then has no use and is off). The last step of an epoch may be smaller; `drop_last` omits it, unless the epoch
    has no other step.

    Raises:
        UserError: an empty store, or a `pad_to` below the longest row.
    """

    def __init__(
        self,
        store: Rows,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        accumulation: int = 1,
        rank: int = 0,
        world: int = 1,
        pad_to: int | None = None,
        bucket: bool = True,
        drop_last: bool = False,
    ) -> None:
        _check(store, batch_size)
        if pad_to is not None and pad_to < (longest := int(store.lengths.max())):
            raise UserError(f"rows cannot be padded to {pad_to} tokens: the longest row has {longest}")
        self.store, self.batch_size, self.seed, self.shuffle = store, batch_size, seed, shuffle
        self.accumulation, self.rank, self.world, self.pad_to = accumulation, rank, world, pad_to
        self.bucket = bucket and shuffle and pad_to is None
        self.step_rows = batch_size * accumulation * world
        whole, rest = divmod(len(store), self.step_rows)
        if drop_last and not whole and rank == 0:
            logger.warning(f"The {len(store)} rows are fewer than one step of {self.step_rows}; they are used although drop_last is set.")
        self.steps_per_epoch = whole if drop_last and whole else whole + bool(rest)
        self._plan: tuple[int, Order, Steps] | None = None

    def step(self, epoch: int, index: int) -> list[Batch]:
        """This rank's micro-batches of one step: `accumulation`, or fewer if the step does not have enough rows."""
        order, steps = self._planned(epoch)
        begin = int(steps[index]) * self.step_rows
        rows = order[begin : begin + self.step_rows]
        lengths = self.store.lengths[rows]
        total = _sums(self.store, rows)
        width = self.pad_to or int(lengths.max())
        # slots of a step: all ranks of the first micro-batch, then all ranks of the second, ...
        slots = min(self.accumulation, -(-len(rows) // self.world)) * self.world
        bounds = np.arange(slots + 1) * len(rows) // slots
        batches = []
        for slot in range(self.rank, slots, self.world):
            mine = slice(bounds[slot], bounds[slot + 1])
            part = _sums(self.store, rows[mine])
            share = _shares(part, total)
            batches.append(assemble(self.store, rows[mine] if part["rows"] else rows[:1], width, share))
        return batches

    def _planned(self, epoch: int) -> tuple[Order, Steps]:
        if self._plan is None or self._plan[0] != epoch:
            self._plan = (epoch, *self._make_plan(epoch))
        return self._plan[1:]

    def _make_plan(self, epoch: int) -> tuple[Order, Steps]:
        """The order of the rows, and the slice of it for each step."""
        random = runtime.random_stream(self.seed, epoch)
        if self.store.streamed and self.shuffle:
            used, chunk = min(self.steps_per_epoch * self.step_rows, len(self.store)), CHUNK_STEPS * self.step_rows
            order = ShuffledRows(len(self.store), used, chunk, random, self._by_length if self.bucket else None)
            return order, Permutation(self.steps_per_epoch, random) if self.bucket else range(self.steps_per_epoch)
        steps = np.arange(self.steps_per_epoch)
        if not self.shuffle:
            return np.arange(len(self.store)), steps
        order = random.permutation(len(self.store))[: self.steps_per_epoch * self.step_rows]
        if self.bucket:
            order = _sorted_in_chunks(order, self.store.lengths, CHUNK_STEPS * self.step_rows)
            steps = random.permutation(self.steps_per_epoch)
        return order, steps

    def _by_length(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(self.store.lengths[rows], kind="stable")]


def _sorted_in_chunks(order: np.ndarray, lengths: np.ndarray, chunk: int) -> np.ndarray:
    # 16-bit keys make the stable sort a radix sort
    keys = lengths.astype(np.uint16 if lengths.max() < 65536 else np.int32)[order]
    even = len(order) // chunk * chunk
    pieces = [
        (order[:even].reshape(-1, chunk), keys[:even].reshape(-1, chunk)),
        (order[None, even:], keys[None, even:]),
    ]
    return np.concatenate([np.take_along_axis(o, np.argsort(k, axis=1, kind="stable"), 1).ravel() for o, k in pieces])


def sequential(store: Rows, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """The batches of an evaluation, each row once over all ranks, longest first (so that a lack of memory shows early).

    Each batch is padded to its own longest row; `rows` are the positions of the results; shares refer to the
    whole store. The number of batches may differ by one between ranks.
    """
    _check(store, batch_size)
    total = _sums(store, slice(None))
    order = np.argsort(-store.lengths, kind="stable")
    for begin in range(rank * batch_size, len(order), batch_size * world):
        rows = order[begin : begin + batch_size]
        part = _sums(store, rows)
        share = _shares(part, total)
        yield assemble(store, rows, int(store.lengths[rows[0]]), share)


def _check(store: Rows, batch_size: int) -> None:
    if not len(store):
        raise UserError("there are no rows to batch")
    if batch_size < 1:
        raise UserError(f"the batch size is {batch_size}; it must be at least 1")
