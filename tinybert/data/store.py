"""Token ids of a whole file, computed once and memory-mapped.

A store is a folder in `cache_home()/tokens/`, named by a hash of everything its content depends on: `ids.npy` (all rows concatenated),
`offsets.npy` (the start of each), `first.npy` (length of its first segment), `labels.npy`, `meta.json`.
"""

from __future__ import annotations

import json
from functools import cached_property, reduce
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.data.cache import cache_folder, open_cached
from tinybert.data.layout import Flat, positions
from tinybert.data.progress import TextProgress
from tinybert.data.questions import Windows, read_questions
from tinybert.data.questions import encoded as windows_of
from tinybert.data.readers import iter_rows, split_path
from tinybert.data.row_writer import RowWriter
from tinybert.data.tagged import TaggedWords, encoded, iter_sentences
from tinybert.data.tasks import Task
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

FORMAT = 1
CHUNK_ROWS = 16384  # rows in memory while a store is built or checked
CHUNK_IDS = 1 << 22  # ids in memory while they are counted


class Rows:
    """The input of batches: a `TokenStore`, several concatenated ones, or a range of rows; arrays as in `TokenStore`."""

    lengths: np.ndarray
    first: np.ndarray
    labels: np.ndarray | None = None
    words: TaggedWords | None = None
    windows: Windows | None = None
    pad_id: int
    meta: dict
    streamed: bool = False  # whether `lengths` and `first` are too many for memory, and orders of rows are computed when they are read

    def __len__(self) -> int:
        return len(self.lengths)

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """The concatenated ids of several rows `[B]`: `[tokens]`."""
        raise NotImplementedError

    def tokens_and_labels(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The same and, for rows with token labels, the labels, both `[tokens]`."""
        return self.tokens(rows), None


class TokenStore(Rows):
    """Tokenised rows: `ids` `[tokens]`, `offsets` int64 `[N+1]`, `first` `[N]`, `lengths` int32 `[N]`, `labels` `[N]` or None.

    A row is [CLS] A [SEP] or [CLS] A [SEP] B [SEP]; `first` counts the tokens up to and including the first [SEP].
    `pad_id` is the padding id; `meta` describes the source of the rows.
    """

    def __init__(
        self,
        ids: np.ndarray,
        offsets: np.ndarray,
        first: np.ndarray,
        labels: np.ndarray | None,
        meta: dict,
        words: TaggedWords | None = None,
        windows: Windows | None = None,
    ) -> None:
        self.words, self.windows = words, windows
        self.ids, self.offsets, self.first, self.labels, self.meta = ids, offsets, first, labels, meta
        self.pad_id = int(meta.get("pad_id", 0))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """The number of tokens in each row, int32 `[N]`."""
        return np.diff(self.offsets).astype(np.int32)

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """The lengths of some rows `[B]`, int64 `[B]`, without those of the others."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def length_counts(self) -> np.ndarray:
        """How many rows have 0, 1, 2, ... tokens, int64."""
        known = self.meta.get("length_histogram")
        return np.bincount(self.lengths) if known is None else np.array(known, np.int64)

    @property
    def gold(self) -> np.ndarray | TaggedWords | Windows | None:
        """The gold labels, word tags, or answers for evaluation."""
        return next((found for found in (self.words, self.windows) if found is not None), self.labels)

    def row(self, index: int) -> np.ndarray:
        """The ids of one row, `[length]`."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def tokens(self, rows: np.ndarray) -> np.ndarray:
        """The concatenated ids of several rows `[B]`: `[tokens]`."""
        return self.ids[positions(self.offsets[rows], self.lengths_of(rows))]

    def tokens_and_labels(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The same and, for tagged words, the label of every token, both `[tokens]`."""
        at = positions(self.offsets[rows], self.lengths_of(rows))
        return self.ids[at], None if self.words is None else self.words.labels[at]

    def word_pieces(self) -> np.ndarray:
        """The distinct ids of all rows including padding, ascending, int64."""
        parts = (self.ids[begin : begin + CHUNK_IDS] for begin in range(0, len(self.ids), CHUNK_IDS))
        return reduce(np.union1d, (np.flatnonzero(np.bincount(part)) for part in parts), np.array([self.pad_id]))

    def unknown_share(self, unk_id: int) -> float:
        """The share of [UNK] among the tokens of all rows, excluding [CLS] and [SEP]; 0.0 if there are none."""
        unknown = sum(int((self.ids[begin : begin + CHUNK_IDS] == unk_id).sum()) for begin in range(0, len(self.ids), CHUNK_IDS))
        pieces = len(self.ids) - 2 * len(self) - int((self.first < self.lengths).sum())
        return unknown / pieces if pieces > 0 else 0.0

    @classmethod
    def from_arrays(
        cls,
        sequences: Flat | list[list[int]],
        *,
        first: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        pad_id: int = 0,
    ) -> TokenStore:
        """An in-memory store from rows of ids; without `first` every row is a single sentence."""
        flat = sequences if isinstance(sequences, Flat) else Flat.of(sequences)
        lengths, offsets = flat.lengths, np.concatenate([[0], np.cumsum(flat.lengths)])
        first = lengths if first is None else np.asarray(first)
        if len(first) != len(lengths) or (labels is not None and len(labels) != len(lengths)):
            raise ValueError(f"{len(lengths)} rows, but {len(first)} first segments or another number of labels")
        return cls(flat.values, offsets, first, labels, {"rows": len(lengths), "tokens": int(offsets[-1]), "pad_id": pad_id})

    @classmethod
    def open(cls, folder: str | Path) -> TokenStore:
        """Memory-map a store after checking it against its manifest.

        Raises:
            DamagedError: a file is missing or has changed.
        """
        storage.verify(folder)
        return cls.map(folder)

    @classmethod
    def map(cls, folder: str | Path) -> TokenStore:
        """Memory-map a store that has already been checked.

        Raises:
            DamagedError: it contains something other than plain arrays.
        """
        folder = Path(folder)
        with storage.reading(folder):
            arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            store = cls._of_arrays(arrays, meta)
            store.check()
        return store

    @classmethod
    def _of_arrays(cls, arrays: dict[str, np.ndarray], meta: dict) -> TokenStore:
        labels = arrays.get("labels")
        parts = arrays["ids"], arrays["offsets"], arrays["first"]
        if "examples" in arrays:
            source = Path(meta["source"])
            windows = Windows(arrays["examples"], arrays["begins"], arrays["ends"], arrays["offsets"], source)
            labels = None if labels is None else labels.reshape(-1, 2)
            return cls(*parts, labels, meta, windows=windows)
        if "tag_counts" in arrays:
            ends = np.concatenate([[0], np.cumsum(arrays["tag_counts"], dtype=np.int64)])
            return cls(*parts, None, meta, TaggedWords(labels, arrays["word_counts"], arrays["tags"], ends))
        if labels is not None and meta.get("label_width", 1) > 1:
            labels = labels.reshape(-1, meta["label_width"])
        return cls(*parts, labels, meta)

    def check(self) -> None:
        """Check that the arrays are consistent.

        Raises:
            ValueError: says what does not match.
        """
        for name in ("ids", "offsets", "first"):
            array = getattr(self, name)
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise ValueError(f"{name} are {array.dtype} of {array.ndim} dimensions, not a one-dimensional array of whole numbers")
        starts = (np.asarray(self.offsets[at : at + CHUNK_ROWS + 1], np.int64) for at in range(0, len(self), CHUNK_ROWS))
        shortest = min((np.diff(some).min() for some in starts), default=1)
        if not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != len(self.ids) or shortest < 1:
            raise ValueError(f"offsets do not split the {len(self.ids)} ids into rows")
        if len(self.first) != len(self) or (self.labels is not None and len(self.labels) != len(self)):
            raise ValueError(f"{len(self)} rows, but {len(self.first)} first segments or another number of labels")

    @staticmethod
    def is_stored(task: Task, folder: str | Path, split: str, tokenizer: WordPiece, max_seq_length: int) -> bool:
        """Whether an earlier run has tokenised this split (fast check, see `storage.is_complete`)."""
        description = _describe(task, split, split_path(task, folder, split), tokenizer, max_seq_length)
        return storage.is_complete(cache_folder("tokens", description))

    @classmethod
    def build_or_open(
        cls,
        task: Task,
        folder: str | Path,
        split: str,
        tokenizer: WordPiece,
        max_seq_length: int,
    ) -> TokenStore:
        """The store of a split; tokenised unless this was done by an earlier run or another process.

        If several processes ask at once, one builds it and the others wait.

        Raises:
            UserError: the file does not match the task (see `readers.iter_rows`), or the cache is not writable.
        """
        source = split_path(task, folder, split)
        before = source.stat()
        description = _describe(task, split, source, tokenizer, max_seq_length)

        def build(new: Path) -> None:
            fill = _build_tagged if task.kind.of_words else _build_windows if task.kind.of_windows else _build
            found = fill(new, task, folder, split, tokenizer, max_seq_length)
            meta = {**description, "task": task.name, "split": split, "source": str(source), "pad_id": tokenizer.pad_id, **found}
            storage.write_json(new / "meta.json", meta)
            if (source.stat().st_size, source.stat().st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise UserError(f"{source} changed while it was read. Start again when it is complete.")

        store = open_cached("tokens", description, cls.open, build)
        if store.windows is not None:
            store.windows.source = source  # the store may have been built from another file with the same content
        return store


def _describe(task: Task, split: str, source: Path, tokenizer: WordPiece, max_seq_length: int) -> dict:
    return {
        "format": FORMAT,
        "source_sha256": storage.sha256_of(source),
        "tokenizer": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
        "max_seq_length": max_seq_length,
        "columns": task.split(split).key,
        "labels": list(task.labels),
        **({"kind": task.kind.name} if task.kind.label_width(task.labels) > 1 or task.kind.of_words or task.kind.of_windows else {}),
    }


def _build(new: Path, task: Task, folder: str | Path, split: str, tokenizer: WordPiece, max_seq_length: int) -> dict:
    label_type = None if task.split(split).label is None else task.kind.label_type
    progress = TextProgress(f"Tokenising {task.name} {split}", split_path(task, folder, split).stat().st_size, "rows")
    truncated = 0
    with RowWriter(new, tokenizer.vocab_size, max_seq_length, label_type) as writer:
        for chunk in iter_rows(task, folder, split, CHUNK_ROWS):
            rows, first, cut = tokenizer.rows(chunk.text_a, chunk.text_b, max_seq_length)
            writer.append(rows, first, chunk.labels)
            truncated += cut
            progress.show(writer.rows, chunk.bytes_read)
    width = {} if task.kind.label_width(task.labels) == 1 else {"label_width": task.kind.label_width(task.labels)}
    return {**writer.counts(), **width, "truncated": truncated}


def _build_tagged(new: Path, task: Task, folder: str | Path, split: str, tokenizer: WordPiece, max_seq_length: int) -> dict:
    path, columns = split_path(task, folder, split), task.split(split)
    index_of = {label: i for i, label in enumerate(task.labels)}
    progress = TextProgress(f"Tokenising {task.name} {split}", path.stat().st_size, "rows")
    truncated = words = kept = 0
    more = {"word_counts": np.int32, "tags": np.int16, "tag_counts": np.int32}
    with RowWriter(new, tokenizer.vocab_size, max_seq_length, np.int16, more) as writer:
        for part in iter_sentences(path, columns, CHUNK_ROWS):
            unknown = next((tag for tags in part.tags or () for tag in tags if tag not in index_of), None)
            if unknown is not None:
                raise UserError(
                    f"{path}: found the tag {unknown!r}, expected {task.kind.expected(task.labels)}. Does it belong to {task.name}?"
                )
            tags = [
                np.array([index_of[tag] for tag in (part.tags[i] if part.tags else ())] or [0] * len(sentence), np.int16)
                for i, sentence in enumerate(part.words)
            ]
            rows, first, labels, counts, cut = encoded(part.words, tags, tokenizer, max_seq_length)
            lengths = np.array([len(each) for each in tags], np.int32)
            writer.append(rows, first, labels, word_counts=counts, tags=np.concatenate(tags), tag_counts=lengths)
            truncated, words, kept = truncated + cut, words + int(lengths.sum()), kept + int(counts.sum())
            progress.show(writer.rows, part.bytes_read)
    return {**writer.counts(), "truncated": truncated, "words": words, "words_cut": words - kept}


def _build_windows(new: Path, task: Task, folder: str | Path, split: str, tokenizer: WordPiece, max_seq_length: int) -> dict:
    columns = task.split(split)
    found = read_questions(split_path(task, folder, split))
    more = {"examples": np.int32, "begins": np.int32, "ends": np.int32}
    trained = columns.label is not None and split.startswith("train")
    with RowWriter(new, tokenizer.vocab_size, max_seq_length, np.int32 if columns.label is not None else None, more) as writer:
        for begin in range(0, len(found.items), 256):
            some = found.items[begin : begin + 256]
            rows, first, labels, examples, begins, ends = windows_of(some, tokenizer, max_seq_length, columns.stride, trained)
            writer.append(rows, first, labels, examples=examples + begin, begins=begins, ends=ends)
    return {**writer.counts(), "questions": len(found.items), "answers": found.answers, "answers_lost": found.lost, "truncated": 0}
