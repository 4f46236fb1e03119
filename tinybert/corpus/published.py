"""The published format of pregenerated rows: `epoch_<e>.json`, one JSON object per line, and `epoch_<e>_metrics.json`.

An object has tokens (including [CLS] and [SEP]), segment_ids, is_random_next, masked_lm_positions and masked_lm_labels; the metrics
are num_training_examples and max_seq_len. Source: Huawei TinyBERT, pregenerate_training_data.py.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.cache import open_cached
from tinybert.data.layout import Flat
from tinybert.data.row_writer import RowWriter
from tinybert.data.source import Source
from tinybert.data.store import TokenStore
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.log import logger

FORMAT = 1
CHUNK_ROWS = 2048
LONGEST = 1 << 16  # tokens of a row; no encoder has so many positions


def epoch_files(folder: Path) -> list[Path]:
    """`epoch_0.json`, `epoch_1.json`, ... in order.

    Raises:
        UserError: one of them is missing.
    """
    found = {int(match[1]): path for path in folder.iterdir() if (match := re.fullmatch(r"epoch_(\d+)\.json", path.name))}
    missing = [number for number in range(max(found, default=-1)) if number not in found]
    if missing:
        raise UserError(
            f"{folder} has epoch_{max(found)}.json, but not epoch_{missing[0]}.json.\nCopy the missing files, or number the files from 0."
        )
    return [found[number] for number in sorted(found)]


def metrics_path(epoch: Path) -> Path:
    """The metrics file of `epoch_<e>.json`."""
    return epoch.with_name(f"{epoch.stem}_metrics.json")


def read_metrics(epoch: Path) -> tuple[int, int]:
    """The number of rows and the maximum length in the metrics file of an epoch.

    Raises:
        UserError: it is missing, or an entry is missing or invalid.
    """
    path = metrics_path(epoch)
    try:
        metrics = json.loads(path.read_text(encoding="utf-8-sig"))
        rows, longest = metrics["num_training_examples"], metrics["max_seq_len"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not readable ({error!r}); expected num_training_examples and max_seq_len as pregenerate writes"
        ) from None
    if not all(isinstance(value, int) and not isinstance(value, bool) and value > 0 for value in (rows, longest)):
        raise UserError(f"{path}: num_training_examples is {rows!r} and max_seq_len {longest!r}; expected two whole numbers above 0")
    if longest > LONGEST:
        raise UserError(f"{path}: max_seq_len is {longest}; expected at most {LONGEST}. Check the options that pregenerate was run with.")
    return rows, longest


def read_epoch(epoch: Path, tokenizer: WordPiece) -> TokenStore:
    """The rows of a published file as ids, converted unless an earlier run has done so.

    Raises:
        UserError: an invalid line, a token outside of the vocabulary, or metrics that do not match the rows.
    """
    rows, longest = read_metrics(epoch)
    sha256 = storage.sha256_of(epoch)
    description = {
        "pregenerated": FORMAT, "source_sha256": sha256, "vocabulary": tokenizer.vocabulary_sha256, "max_seq_len": longest,
        "pad_id": tokenizer.pad_id,
    }  # fmt: skip

    def build(new: Path) -> None:
        logger.info(f"converting {epoch} to ids, once")
        with RowWriter(new, tokenizer.vocab_size, longest) as writer:
            for rows, first in _chunks(epoch, tokenizer, longest):
                writer.append(rows, first)
        storage.write_json(new / "meta.json", {**description, "source": str(epoch), **writer.counts()})

    store = open_cached("tokens", description, TokenStore.open, build)
    if len(store) != rows:
        raise UserError(
            f"{metrics_path(epoch)} says {rows} rows, {epoch.name} has {len(store)}.\n"
            "One of them is truncated or belongs to another run: run pregenerate again."
        )
    return store


def _chunks(epoch: Path, tokenizer: WordPiece, longest: int) -> Iterator[tuple[Flat, np.ndarray]]:
    index_of = {token: i for i, token in enumerate(tokenizer.vocabulary)}
    lines = Source(epoch).lines()
    while chunk := list(itertools.islice(lines, CHUNK_ROWS)):
        parsed = [_row(epoch, number, line, index_of, longest) for number, line in chunk]
        yield Flat.of([ids for ids, _ in parsed]), np.array([first for _, first in parsed])


def _row(epoch: Path, number: int, line: str, index_of: dict[str, int], longest: int) -> tuple[list[int], int]:
    """Ids and length of the first segment of one line."""
    where = f"{epoch}, line {number}"
    try:
        row = json.loads(line)
        tokens, segments = row["tokens"], row["segment_ids"]
        first = segments.index(1) if 1 in segments else len(segments)
        whole = len(tokens) == len(segments) > 0 and segments == [0] * first + [1] * (len(segments) - first)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where}: found no row ({error!r}), expected an object with tokens and segment_ids. Is the file truncated?"
        ) from None
    if not whole:
        raise UserError(f"{where}: {len(tokens)} tokens and segments {segments[:12]}...; expected one segment id per token, 0s before 1s")
    if len(tokens) > longest:
        raise UserError(f"{where}: a row of {len(tokens)} tokens, but {metrics_path(epoch).name} says max_seq_len {longest}.")
    try:
        return [index_of[token] for token in tokens], first
    except (KeyError, TypeError):
        unknown = next(token for token in tokens if not isinstance(token, str) or token not in index_of)
        raise UserError(f"{where}: the vocabulary has no token {unknown!r}. The rows were made with another model's vocabulary.") from None
