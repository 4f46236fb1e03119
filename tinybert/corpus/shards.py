"""Reads pregenerated rows: our own shards, or the published files of JSON lines.

A folder of ours contains `pregenerated.json` and one folder per shard, `epoch_<e>/shard_<n>/`, each a token store. The record has the
sha256 of every shard's manifest, and a manifest that of every array, so that any change or loss is detected.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tinybert import storage
from tinybert.corpus.published import epoch_files, read_epoch
from tinybert.data.concatenated import ConcatenatedStore
from tinybert.data.store import Rows, TokenStore
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

RECORD = "pregenerated.json"
FORMAT = 1
RERUN_ADVICE = "run pregenerate again with the same options: it keeps complete parts and adds the rest"


@dataclass
class Pregenerated:
    """Rows for `epochs` epochs, of at most `max_seq_len` tokens.

    `vocabulary_sha256` is that of `WordPiece.vocabulary_sha256`, `meta` the recorded options, seed and corpus.
    """

    folder: Path
    epochs: int
    max_seq_len: int
    vocabulary_sha256: str
    meta: dict
    read: Callable[[int], Rows] = field(repr=False)
    _last: tuple[int, Rows] | None = field(default=None, repr=False)

    def epoch(self, number: int) -> Rows:
        """The rows of epoch `number`; after the last one it starts over."""
        number %= self.epochs
        if self._last is None or self._last[0] != number:
            self._last = (number, self.read(number))
        return self._last[1]

    def check(self, tokenizer: WordPiece, longest: int | None = None, max_seq_length: int | None = None) -> None:
        """Reject rows that a model cannot read: another vocabulary, rows above its `longest` input, or another length than requested.

        Raises:
            UserError: says which, and what to do.
        """
        if self.vocabulary_sha256 != tokenizer.vocabulary_sha256:
            raise UserError(
                f"{self.folder} was made with another vocabulary ({self.meta.get('vocab_size', '?')} tokens, sha256 "
                f"{self.vocabulary_sha256[:12]}) than the model's ({tokenizer.vocab_size}, {tokenizer.vocabulary_sha256[:12]}).\n"
                "Its ids stand for other tokens. Run pregenerate with --bert_model set to this model."
            )
        if self.meta.get("tokenizer", tokenizer.fingerprint) != tokenizer.fingerprint:
            raise UserError(
                f"{self.folder} was made with the model's vocabulary but other tokenizer settings, such as lower-casing.\n"
                "Run pregenerate without --do_lower_case, or give `tinybert general` the same value."
            )
        if max_seq_length is not None and max_seq_length != self.max_seq_len:
            raise UserError(
                f"{self.folder} contains rows of length {self.max_seq_len}, but {max_seq_length} was requested.\n"
                "Leave out the length, or run pregenerate with that --max_seq_len."
            )
        if longest is not None and self.max_seq_len > longest:
            raise UserError(
                f"{self.folder} contains rows of up to {self.max_seq_len} tokens, but the model reads {longest}.\n"
                f"Run pregenerate with --max_seq_len {longest} or less."
            )


def open_pregenerated(folder: str | Path, tokenizer: WordPiece | None = None) -> Pregenerated:
    """Open a folder of shards after checking each of them, or published JSON lines, which are converted to ids and cached.

    tokenizer: the model's; required for JSON lines, which contain tokens.

    Raises:
        UserError: no rows, an unfinished run, a shard that is missing, truncated, changed or has another length, or a metrics file
        that does not match its rows.
    """
    folder = Path(folder).expanduser()
    if (folder / RECORD).is_file():
        record = read_record(folder)
        if not record["finished"]:
            raise UserError(f"{folder} is not finished: {RERUN_ADVICE}.")
        if record["settings"]["format"] == "shards":
            return _open_shards(folder, record)
        missing = [name for name in record["files"] if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder} lacks {', '.join(missing)}: {RERUN_ADVICE}.")
    files = epoch_files(folder) if folder.is_dir() else []
    if not files:
        found = "is not a folder" if not folder.is_dir() else "contains neither " + f"{RECORD} nor epoch_0.json"
        raise UserError(f"{folder} {found}: there is no pregenerated data. Create it with tinybert pregenerate --output_dir {folder}")
    if tokenizer is None:
        raise UserError(f"{folder} contains tokens as JSON lines: a model's vocabulary is needed to read them")
    stores = [read_epoch(path, tokenizer) for path in files]
    lengths = {store.meta["max_seq_len"] for store in stores}
    if len(lengths) > 1:
        raise UserError(f"{folder}: the metrics files give different lengths ({', '.join(map(str, sorted(lengths)))}); expected one")
    meta = {"format": "json", "vocab_size": tokenizer.vocab_size, "source_sha256": stores[0].meta["source_sha256"]}
    return Pregenerated(folder, len(files), lengths.pop(), tokenizer.vocabulary_sha256, meta, stores.__getitem__)


def read_record(folder: Path) -> dict:
    """The record of a folder of shards.

    Raises:
        UserError: it cannot be read, or was written by a later version.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8-sig"))
        if record["format"] != FORMAT:
            raise UserError(
                f"{folder / RECORD} has format {record['format']}, this version reads {FORMAT}. Update tinybert, or run pregenerate again."
            )
        _check_record(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / RECORD} is damaged ({error}): {RERUN_ADVICE}, with --overwrite_output_dir.") from error
    return record


def _check_record(record: dict) -> None:
    """Check that all required entries are present.

    Raises:
        KeyError, TypeError, ValueError: names the missing or invalid entry.
    """
    as_json = record["settings"]["format"] == "json"
    kinds = {"source_sha256": str, "vocabulary_sha256": str, "tokenizer": str, "max_seq_len": int}
    if record["finished"]:
        kinds |= {"shards": list, "files": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(record[name], kind)]
    if wrong:
        raise ValueError(f"{wrong[0]} is {record[wrong[0]]!r}")
    epochs = record["shards"] if record["finished"] else [{"": ""}]
    if not epochs or not all(isinstance(epoch, dict) and (epoch or as_json) for epoch in epochs):
        raise ValueError("an epoch without shards")


def open_shard(folder: Path, max_seq_len: int, manifest_sha256: str | None = None) -> TokenStore:
    """Open a shard after checking its length, its checksums and, if given, that of its manifest.

    Raises:
        DamagedError: says what is wrong.
    """
    store = TokenStore.open(folder)
    if store.meta.get("max_seq_len") != max_seq_len or (len(store) and int(store.lengths.max()) > max_seq_len):
        raise storage.DamagedError(f"{folder} contains rows of length {store.meta.get('max_seq_len')}; expected {max_seq_len}")
    if manifest_sha256 is not None and storage.sha256_of(folder / storage.MANIFEST) != manifest_sha256:
        raise storage.DamagedError(f"{folder} is complete but not the shard that belongs here: its checksum differs from that in {RECORD}")
    return store


def _open_shards(folder: Path, record: dict) -> Pregenerated:
    stores = [[folder / name for name in epoch] for epoch in record["shards"]]
    try:
        for epoch in record["shards"]:
            for name, sha256 in epoch.items():
                open_shard(folder / name, record["max_seq_len"], sha256)
    except storage.DamagedError as error:
        raise UserError(f"{error}\nDelete that folder, then {RERUN_ADVICE}.") from error

    def read(number: int) -> ConcatenatedStore:
        opened = [TokenStore.map(path) for path in stores[number]]
        meta = {"source_sha256": record["source_sha256"], "shards": record["shards"][number], "rows": sum(map(len, opened))}
        return ConcatenatedStore(opened, meta)

    return Pregenerated(folder, len(stores), record["max_seq_len"], record["vocabulary_sha256"], record, read)
