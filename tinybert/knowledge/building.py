"""Running a teacher over a token store once, and keeping what was selected."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle

from tinybert import storage
from tinybert.data.batches import assemble
from tinybert.data.progress import TextProgress
from tinybert.data.store import TokenStore
from tinybert.engine.signals import graceful_shutdown
from tinybert.errors import Interrupted, UserError
from tinybert.knowledge.layout import Layout
from tinybert.knowledge.shard import ShardWriter, is_whole
from tinybert.knowledge.store import FORMAT, LOGITS_ONLY, RECORD, StoredKnowledge, check_identity, read_record, shard_folder
from tinybert.log import logger
from tinybert.models.trace import EncoderTrace, Inputs, Needs

SHARD_ROWS, SHARDS, SHARD_BYTES = 4096, 200, 128 << 20
Trace = Callable[[Inputs], EncoderTrace]


@dataclasses.dataclass(frozen=True)
class CacheSpec:
    """Knowledge that a run needs.

    identity: what it depends on by name, the selection left out. teacher: the teacher's entry for run.json. layers: its depth.
    """

    folder: Path
    identity: dict
    teacher: dict
    layers: int
    layout: Layout

    def fingerprint(self) -> dict:
        """Everything the stored bytes depend on, by name."""
        return {"format": FORMAT, **self.identity, "selection": described(self.layout)}


def described(layout: Layout) -> object:
    """A selection as plain values."""
    selection = layout.selection
    if not selection.pairs:
        return LOGITS_ONLY
    tokens, width = selection.tokens, selection.width
    return {
        "layers": ", ".join(f"{s}:{t}" for s, t in selection.pairs),
        "tokens": tokens.scheme if tokens.scheme == "none" else f"{tokens.scheme} {tokens.keep}",
        "token layers": list(selection.attention) if tokens.reads_scores else None,
        "hidden entries": f"{width.scheme} {width.keep:g}" if width.dynamic else width.scheme,
        "dimensions": list(width.dims) or None,
    }


def is_complete(wanted: CacheSpec, store: TokenStore) -> bool:
    """Whether the knowledge is there, so that no teacher is needed; its checksums are verified.

    Raises:
        UserError: the folder holds knowledge of something else.
    """
    record = _checked(wanted, store)
    return record is not None and not _missing(wanted.folder, record)


def open_stored(wanted: CacheSpec, store: TokenStore, needs: Needs) -> StoredKnowledge:
    """Complete knowledge, mapped into memory. A stage that needs logits alone reads them beside whatever else is stored."""
    record = _checked(wanted, store)
    return StoredKnowledge(wanted.folder, record, wanted.layout, needs)


def build(wanted: CacheSpec, store: TokenStore, load: Callable[[Needs], Trace], batch_size: int) -> None:
    """Run the teacher over every row that is not stored yet. Of several processes one builds, the others wait for it.

    load: gives the teacher, asked for only where something is missing. A signal ends it after a batch; the next call goes on with the
    first shard that is not whole.

    Raises:
        UserError: the folder holds knowledge of something else or cannot be written, or the disk is too small.
        Interrupted: a signal came.
    """
    try:
        wanted.folder.mkdir(parents=True, exist_ok=True)
        with storage.lock(wanted.folder / "building"):
            storage.recover(wanted.folder)
            record = _checked(wanted, store) or _new_record(wanted, store)
            missing = _missing(wanted.folder, record)
            if not missing:
                return
            _check_disk(wanted, store, record, missing)
            storage.write_json(wanted.folder / RECORD, record)
            started = time.monotonic()
            _build_shards(wanted, store, record, missing, load, batch_size)
            record["seconds"] = round(record.get("seconds", 0.0) + time.monotonic() - started, 1)
            storage.write_json(wanted.folder / RECORD, record)
    except OSError as error:
        raise UserError(f"the knowledge folder {wanted.folder} cannot be written: {error}.\nMake room, or name another folder.") from error


def _checked(wanted: CacheSpec, store: TokenStore) -> dict | None:
    record = read_record(wanted.folder)
    if record is not None:
        check_identity(wanted.folder, record, wanted.fingerprint())
        if record["rows"] != len(store):
            raise UserError(
                f"{wanted.folder} holds {record['rows']} rows, the data has {len(store)}.\nName another folder, or delete this one."
            )
    return record


def _new_record(wanted: CacheSpec, store: TokenStore) -> dict:
    size = sum(
        wanted.layout.bytes(wanted.layout.counts(store, begin, min(begin + SHARD_ROWS, len(store))))
        for begin in range(0, len(store), SHARD_ROWS)
    )
    per_row = size / len(store)
    full = wanted.layout.full_bytes(store, wanted.layers)
    rows = max(SHARD_ROWS if per_row * SHARD_ROWS <= SHARD_BYTES else max(64, int(SHARD_BYTES / per_row)), -(-len(store) // SHARDS))
    return {
        "identity": wanted.fingerprint(),
        "teacher": wanted.teacher,
        "rows": len(store),
        "shard_rows": rows,
        "bytes": size,
        "bytes_per_row": round(per_row, 1),
        "full_bytes": full,
        "of_full": size / full,
    }


def _missing(folder: Path, record: dict) -> list[int]:
    return [number for number in range(-(-record["rows"] // record["shard_rows"])) if not is_whole(shard_folder(folder, number))]


def _check_disk(wanted: CacheSpec, store: TokenStore, record: dict, missing: list[int]) -> None:
    rows = record["shard_rows"]
    needed = sum(wanted.layout.bytes(wanted.layout.counts(store, n * rows, min((n + 1) * rows, len(store)))) for n in missing)
    free = shutil.disk_usage(wanted.folder).free
    if needed * 1.02 + (1 << 20) > free:
        raise UserError(
            f"{wanted.folder} needs {needed / 1e6:,.1f} MB ({record['bytes_per_row']:,.0f} a row), but the disk has {free / 1e6:,.1f} MB.\n"
            "Make room, name a folder on another disk, or keep less (--keep_layers, --keep_tokens, --keep_hidden)."
        )


def _build_shards(
    wanted: CacheSpec, store: TokenStore, record: dict, missing: list[int], load: Callable[[Needs], Trace], batch_size: int
) -> None:
    layout, rows = wanted.layout, record["shard_rows"]
    logger.info(
        f"storing the teacher's knowledge in {wanted.folder}: {len(store)} rows, {record['bytes'] / 1e6:,.1f} MB, "
        f"{record['bytes_per_row']:,.0f} bytes a row, {100 * record['of_full']:.3g} % of all hidden states in float16"
    )
    teacher = load(layout.selection.needs | Needs(logits=True))
    total = sum(min(rows, len(store) - number * rows) for number in missing)
    progress, done = TextProgress(f"knowledge of {wanted.folder.name}", total, "rows"), 0
    with graceful_shutdown() as stop, paddle.no_grad():
        for number in missing:
            begin, end = number * rows, min((number + 1) * rows, len(store))
            writer = ShardWriter(layout, end - begin)
            order = begin + np.argsort(-store.lengths[begin:end], kind="stable")
            for at in range(0, len(order), batch_size):
                some = order[at : at + batch_size]
                inputs = Inputs.of(assemble(store, some, int(store.lengths[some].max()), {}))
                trace = teacher(inputs)
                writer.add(some - begin, trace, layout.selection.of(trace, inputs))
                done += len(some)
                progress.show(done, done)
                if stop.signal:
                    raise Interrupted(stop.signal, f"stopped while storing knowledge; the same command goes on with row {begin}")
            target = shard_folder(wanted.folder, number)
            if target.exists():
                logger.warning(f"{target} is damaged and made anew")
            with storage.new_folder(target, replace=True) as folder:
                writer.write(folder)
