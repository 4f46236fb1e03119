"""Selects the parts of a corpus that become rows: sentence pairs as published, packed single sequences, or one row per line.

Rows are represented by one or two ranges of the corpus' token array; ids are read for many rows at once. Randomness is keyed by (seed,
epoch, first document of the block), so the rows do not depend on which process makes them, or when.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from tinybert import runtime
from tinybert.corpus.tokens import CorpusTokens
from tinybert.data.layout import Flat, bert_rows, kept_lengths, positions
from tinybert.data.tokenizer import WordPiece


@dataclass(frozen=True)
class SequenceOptions:
    """How the corpus is split into rows: `sequences` (pairs, packed or lines), at most `max_seq_len` tokens, shorter at random with
    probability `short_seq_prob` (pairs: per document; packed: per row); `random_next`: half of the pairs get a random second part.
    """

    sequences: str
    max_seq_len: int
    short_seq_prob: float = 0.0
    random_next: bool = True


@dataclass
class Spans:
    """Rows as ranges of token positions, int64 `[N]` each; `second_length` is 0 for an empty second part, None for single sequences.

    `random_next` bool `[N]`: the second range comes from another document. `documents` `[N]`: that of the first range.
    """

    first_begin: np.ndarray
    first_length: np.ndarray
    second_begin: np.ndarray | None
    second_length: np.ndarray | None
    random_next: np.ndarray
    documents: np.ndarray


def spans(corpus: CorpusTokens, begin: int, end: int, options: SequenceOptions, seed: int, epoch: int) -> Spans:
    """The rows of the documents from `begin` to `end` (exclusive) in one epoch."""
    if options.sequences == "lines":
        return _lines(corpus, begin, end, options)
    draw = random.Random(f"{seed} {epoch} {begin}")
    if options.sequences == "packed":
        return _packed(corpus, begin, end, options, draw)
    return _pairs(corpus, begin, end, options, draw, runtime.random_stream(seed, epoch, begin, 0))


def rows_of(corpus: CorpusTokens, picked: Spans, tokenizer: WordPiece, max_seq_len: int) -> tuple[Flat, np.ndarray]:
    """[CLS] A [SEP] or [CLS] A [SEP] B [SEP] for each span, and the length of its first segment `[N]`; an empty B becomes "."."""
    a = Flat(corpus.ids[positions(picked.first_begin, picked.first_length)], picked.first_length)
    b = None
    if picked.second_begin is not None:
        empty = picked.second_length == 0
        b = Flat(np.zeros(0), np.where(empty, 1, picked.second_length))
        b.values = corpus.ids[positions(np.where(empty, 0, picked.second_begin), b.lengths)]
        b.values[b.starts[empty]] = tokenizer.ids(["."])[0][0]
    rows, first, _ = bert_rows(a, b, max_seq_len, tokenizer.cls_id, tokenizer.sep_id)
    return rows, first


def _table(rows: list[tuple], columns: int) -> list[np.ndarray]:
    return list(np.array(rows, np.int64).reshape(-1, columns).T.copy())


# === Single sequences ===


def _single(begins: np.ndarray, ends: np.ndarray, documents: np.ndarray) -> Spans:
    return Spans(begins, ends - begins, None, None, np.zeros(len(begins), bool), documents)


def _lines(corpus: CorpusTokens, begin: int, end: int, options: SequenceOptions) -> Spans:
    bounds = corpus.sentences[corpus.documents[begin] : corpus.documents[end] + 1]
    documents = np.repeat(np.arange(begin, end), np.diff(corpus.documents[begin : end + 1]))
    return _single(bounds[:-1], np.minimum(bounds[1:], bounds[:-1] + options.max_seq_len - 2), documents)


def _packed(corpus: CorpusTokens, begin: int, end: int, options: SequenceOptions, draw: random.Random) -> Spans:
    """As many whole sentences of one document as fit; a sentence longer than a row continues in the next one."""
    rows, most = [], options.max_seq_len - 2
    for document in range(begin, end):
        bounds = corpus.sentences[corpus.documents[document] : corpus.documents[document + 1] + 1].tolist()
        place, last = bounds[0], bounds[-1]
        while place < last:
            target = _target(draw, options.short_seq_prob, most)
            whole = bounds[bisect_right(bounds, place + target) - 1]
            stop = whole if whole > place else place + target
            rows.append((place, stop, document))
            place = stop
    return _single(*_table(rows, 3))


def _target(draw: random.Random, short_seq_prob: float, most: int) -> int:
    """`most`, or with probability `short_seq_prob` a random length of at least 2."""
    return 2 + int(draw.random() * (most - 1)) if short_seq_prob and draw.random() < short_seq_prob else most


# === Pairs (Huawei TinyBERT, pregenerate_training_data.py; after BERT's create_pretraining_data.py) ===


def _pairs(
    corpus: CorpusTokens, begin: int, end: int, options: SequenceOptions, draw: random.Random, vector: np.random.RandomState
) -> Spans:
    rows, most = [], options.max_seq_len - 3
    for document in range(begin, end):
        bounds = corpus.sentences[corpus.documents[document] : corpus.documents[document + 1] + 1].tolist()
        target = _target(draw, options.short_seq_prob, most)
        at, count = 0, len(bounds) - 1
        while at < count:  # sentences up to the target length, split in two at random
            stop = min(count, max(at + 1, bisect_left(bounds, bounds[at] + target, at + 1)))
            middle = at + 1 if stop - at == 1 else at + 1 + int(draw.random() * (stop - at - 1))
            elsewhere = options.random_next and (stop - at == 1 or draw.random() < 0.5)
            rows.append((bounds[at], bounds[middle], bounds[stop], target, elsewhere, document))
            at = middle if elsewhere else stop  # unused sentences are returned
    first, middle, stop, target, elsewhere, documents = _table(rows, 6)
    first_length, elsewhere = middle - first, elsewhere.astype(bool)
    second, second_length = middle, stop - middle
    second[elsewhere], second_length[elsewhere] = _elsewhere(corpus, documents[elsewhere], (target - first_length)[elsewhere], vector)
    # the longer part loses tokens, at its front or back with equal probability; an empty second part becomes one "."
    kept, kept_second = kept_lengths(first_length, np.maximum(second_length, 1), most)
    first = first + vector.binomial(first_length - kept, 0.5)
    second = second + vector.binomial(np.maximum(second_length - kept_second, 0), 0.5)
    return Spans(first, kept, second, np.minimum(second_length, kept_second), elsewhere, documents)


def _elsewhere(
    corpus: CorpusTokens, documents: np.ndarray, wanted: np.ndarray, vector: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Begin and length of whole sentences with at least `wanted` tokens, from another document than each of `documents`.

    The first sentence is drawn uniformly, so documents are selected in proportion to their number of sentences.
    """
    own, after = corpus.documents[documents], corpus.documents[documents + 1]
    others = len(corpus.sentences) - 1 - (after - own)
    sentence = np.minimum((vector.random_sample(len(documents)) * others).astype(np.int64), others - 1)
    sentence += np.where(sentence >= own, after - own, 0)
    last = corpus.documents[np.searchsorted(corpus.documents, sentence, "right")]
    begin = corpus.sentences[sentence]
    stop = np.minimum(np.searchsorted(corpus.sentences, begin + np.maximum(wanted, 1), "left"), last)
    return begin, corpus.sentences[stop] - begin
