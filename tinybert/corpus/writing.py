"""Writes one shard at a time: documents to finished rows on disk, with identical bytes in any process and order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinybert import runtime, storage
from tinybert.corpus.masking import Masked, Masking, Pieces, by_row, mask
from tinybert.corpus.sequences import SequenceOptions, Spans, rows_of, spans
from tinybert.corpus.shards import open_shard
from tinybert.corpus.tokens import CorpusTokens
from tinybert.data.layout import Flat
from tinybert.data.row_writer import RowWriter
from tinybert.data.tokenizer import WordPiece

BLOCK_TOKENS = 1 << 16  # corpus tokens that are converted to rows together, in memory
SHARDS = 16  # per epoch, unless they would be smaller or larger than this many corpus tokens
SMALLEST, LARGEST = 1 << 21, 1 << 26
ROWS = "rows.json"  # of a shard that is converted to JSON lines


@dataclass(frozen=True)
class Shard:
    """The documents from `begin` to `end` (exclusive) of one epoch, and their tokens in the corpus."""

    epoch: int
    number: int
    begin: int
    end: int
    tokens: int

    @property
    def name(self) -> str:
        """Its folder, relative to the output folder."""
        return f"epoch_{self.epoch}/shard_{self.number:05d}"


def plan(corpus: CorpusTokens, epochs: int) -> list[list[Shard]]:
    """The shards of each epoch; they depend only on the corpus."""
    starts = corpus.document_starts(0, len(corpus.documents) - 1)
    size = min(max(int(starts[-1]) // SHARDS, SMALLEST), LARGEST)
    cuts = _cuts(starts, size)
    return [
        [Shard(epoch, i, begin, end, int(starts[end] - starts[begin])) for i, (begin, end) in enumerate(cuts)] for epoch in range(epochs)
    ]


def _cuts(starts: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Ranges of documents with about `size` tokens each; `starts` of the documents, and the end of the last."""
    marks = np.arange(starts[0], starts[-1], size)
    cuts = np.unique(np.append(np.searchsorted(starts[:-1], marks, "left"), len(starts) - 1))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


@dataclass
class ShardMaker:
    """Writes shards to `output` from the tokens in `tokens`, as arrays or, with `as_json`, as JSON lines."""

    output: Path
    tokens: Path
    tokenizer: WordPiece
    options: SequenceOptions
    masking: Masking
    seed: int
    as_json: bool

    def __call__(self, shard: Shard) -> tuple[Shard, dict]:
        """Write a shard atomically; returns it with the content of its `meta.json`."""
        with storage.new_folder(self.output / shard.name, replace=True) as new:
            write = _write_json if self.as_json else _write_arrays
            counts: dict[str, int] = {}
            meta = write(new, _counted(self._blocks(shard), counts), self)
            meta |= {**counts, "max_seq_len": self.options.max_seq_len, "pad_id": self.tokenizer.pad_id}
            storage.write_json(new / "meta.json", meta)
        return shard, meta

    def finished(self, shard: Shard) -> dict | None:
        """The `meta.json` of a complete shard; None if it still has to be written."""
        folder = self.output / shard.name
        try:
            if self.as_json:
                storage.verify(folder)
                return json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            return open_shard(folder, self.options.max_seq_len).meta
        except storage.DamagedError:
            return None

    def _blocks(self, shard: Shard) -> Iterator[Block]:
        pieces = Pieces(self.tokenizer) if self.masking.active else None
        for first_document, end_document in _cuts(CorpusTokens.map(self.tokens).document_starts(shard.begin, shard.end), BLOCK_TOKENS):
            begin, end = shard.begin + first_document, shard.begin + end_document
            corpus = CorpusTokens.map(self.tokens)  # per block, or the pages of all random second segments would accumulate
            picked = spans(corpus, begin, end, self.options, self.seed, shard.epoch)
            rows, first = rows_of(corpus, picked, self.tokenizer, self.options.max_seq_len)
            masked = None
            if pieces is not None:
                vector = runtime.random_stream(self.seed, shard.epoch, begin, 1)
                masked = mask(rows, self.masking, pieces, vector)
            yield Block(rows, first, picked, masked)


@dataclass
class Block:
    """Finished rows, the length of their first segments, their source, and their masked tokens."""

    rows: Flat
    first: np.ndarray
    picked: Spans
    masked: Masked | None


def _counted(blocks: Iterator[Block], counts: dict[str, int]) -> Iterator[Block]:
    counts.update(rows=0, tokens=0, random_next=0, masked=0)
    for block in blocks:
        counts["rows"] += len(block.first)
        counts["tokens"] += len(block.rows.values)
        counts["random_next"] += int(block.picked.random_next.sum())
        counts["masked"] += 0 if block.masked is None else len(block.masked.places)
        yield block


def _write_arrays(new: Path, blocks: Iterator[Block], maker: ShardMaker) -> dict:
    with RowWriter(new, maker.tokenizer.vocab_size, maker.options.max_seq_len) as writer:
        for block in blocks:
            writer.append(block.rows, block.first)
    return {"length_histogram": writer.histogram.tolist()}


def _write_json(new: Path, blocks: Iterator[Block], maker: ShardMaker) -> dict:
    vocabulary = np.array(maker.tokenizer.vocabulary, object)
    with open(new / ROWS, "w", encoding="utf-8") as file:
        for block in blocks:
            for line in _json_lines(block, vocabulary):
                file.write(json.dumps(line) + "\n")
    return {}


def _json_lines(block: Block, vocabulary: np.ndarray) -> Iterator[dict]:
    starts = block.rows.starts.tolist()
    lengths, firsts, elsewhere = block.rows.lengths.tolist(), block.first.tolist(), block.picked.random_next.tolist()
    masks = [([], [])] * len(starts) if block.masked is None else by_row(block.masked, block.rows)
    tokens = vocabulary[block.rows.values].tolist()
    for start, length, first, other, (places, labels) in zip(starts, lengths, firsts, elsewhere, masks, strict=True):
        yield {
            "tokens": tokens[start : start + length],
            "segment_ids": [0] * first + [1] * (length - first),
            "is_random_next": other,
            "masked_lm_positions": places,
            "masked_lm_labels": vocabulary[labels].tolist(),
        }
