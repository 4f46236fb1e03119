"""A corpus as token ids on disk: sentences and documents are ranges of one memory-mapped array."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.corpus.documents import Chunk, TextCorpus, sentences
from tinybert.corpus.whole_words import WholeWords
from tinybert.corpus.workers import Workers
from tinybert.data.appending import AppendedArray
from tinybert.data.progress import TextProgress
from tinybert.data.row_writer import id_type
from tinybert.data.tokenizer import WordPiece
from tinybert.data.words import WordTable


@dataclass
class CorpusTokens:
    """`ids` `[tokens]`; sentence i is `ids[sentences[i]:sentences[i + 1]]`, document d the sentences from `documents[d]` to
    `documents[d + 1]`; both int64, none of them empty.
    """

    ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray

    @classmethod
    def map(cls, folder: Path) -> CorpusTokens:
        """Memory-map the output of `write_tokens`.

        Raises:
            DamagedError: it contains something other than these arrays.
        """
        with storage.reading(folder):
            # plain arrays over the maps: indexing single elements of np.memmap is many times slower
            arrays = [np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("ids", "sentences", "documents")]
            for inner, outer in itertools.pairwise(arrays):
                if outer.ndim != 1 or not len(outer) or outer[0] != 0 or outer[-1] != len(inner) - (inner is not arrays[0]):
                    raise ValueError("the arrays are inconsistent")
            return cls(*arrays)

    def document_starts(self, begin: int, end: int) -> np.ndarray:
        """The first token of each document from `begin` to `end` (exclusive), and the end of the last, int64 `[end - begin + 1]`."""
        return self.sentences[self.documents[begin : end + 1]]


@dataclass
class TokenisedChunk:
    """The documents of a chunk that contain words: ids `[tokens]`, length of each sentence, sentences per document."""

    ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    bytes_read: int


@dataclass
class Tokenise:
    """Converts documents to ids, in any process; sentences without tokens and documents without sentences are skipped.

    whole_words: for Chinese, ids mark the continuations of a word, see `WholeWords`.
    """

    tokenizer: WordPiece
    split: bool
    whole_words: bool = False
    _words: WordTable | WholeWords | None = field(default=None, init=False)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_words": None}

    @property
    def ids(self) -> int:
        """The number of different ids."""
        return self.tokenizer.vocab_size * (1 + self.whole_words)

    def __call__(self, chunk: Chunk) -> TokenisedChunk:
        if self._words is None:
            self._words = (WholeWords if self.whole_words else WordTable)(self.tokenizer)
        cut = [sentences(document, self.split) for document in chunk.documents]
        flat = self._words.ids([sentence for document in cut for sentence in document])
        number = np.repeat(np.arange(len(cut)), np.fromiter(map(len, cut), np.int64, len(cut)))
        counts = np.bincount(number[flat.lengths > 0], minlength=len(cut))
        ids = flat.values.astype(id_type(self.ids))
        return TokenisedChunk(ids, flat.lengths[flat.lengths > 0], counts[counts > 0], chunk.bytes_read)


def write_tokens(folder: Path, corpus: TextCorpus, tokenise: Tokenise, workers: Workers) -> Iterator[int]:
    """Write the folder for `CorpusTokens.map` atomically; yields the number of tokens done so far.

    Raises:
        UserError: a file is damaged or not UTF-8.
    """
    progress = TextProgress("Tokenising the corpus", corpus.bytes, "tokens")
    with storage.new_folder(folder, replace=True) as new, contextlib.ExitStack() as files:
        ids = files.enter_context(AppendedArray(new / "ids.npy", id_type(tokenise.ids)))
        ends = files.enter_context(AppendedArray(new / "sentences.npy", np.int64))
        documents = files.enter_context(AppendedArray(new / "documents.npy", np.int64))
        for array in (ends, documents):
            array.append(np.zeros(1, np.int64))
        for piece in workers.ordered(tokenise, corpus.chunks()):
            documents.append(ends.count - 1 + np.cumsum(piece.documents))
            ends.append(ids.count + np.cumsum(piece.sentences))
            ids.append(piece.ids)
            progress.show(ids.count, piece.bytes_read)
            yield ids.count
        files.close()  # before the manifest is written
