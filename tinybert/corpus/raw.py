"""Raw text as a token store in the token cache: the training data if nothing was pregenerated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinybert import storage
from tinybert.corpus.documents import TextCorpus
from tinybert.corpus.sequences import SequenceOptions, rows_of, spans
from tinybert.corpus.tokens import CorpusTokens, Tokenise, TokenisedChunk
from tinybert.corpus.workers import Workers
from tinybert.data.cache import open_cached
from tinybert.data.progress import TextProgress
from tinybert.data.row_writer import RowWriter
from tinybert.data.store import TokenStore
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

FORMAT = 1


def tokenised(
    corpus: TextCorpus,
    tokenizer: WordPiece,
    max_seq_len: int,
    *,
    sequences: str = "packed",
    processes: int = 1,
    whole_words: bool = False,
) -> TokenStore:
    """The single sequences of a corpus, at most `max_seq_len` tokens each: packed with as many sentences of a document as fit, or one line
    per row, truncated, as in PaddleNLP's general_distill.py. whole_words: for Chinese, ids mark the continuations of a word, see
    `WholeWords`.

    Stored in `cache_home()`. If several processes ask at once, one builds the store and the others wait.

    Raises:
        UserError: no text, a damaged file, or a cache that is not writable.
    """
    options = SequenceOptions(sequences, max_seq_len)
    description = {
        "raw_text": FORMAT, "source_sha256": corpus.sha256, "tokenizer": tokenizer.fingerprint, "max_seq_len": max_seq_len,
        "sequences": sequences, "split_sentences": corpus.split, "pad_id": tokenizer.pad_id,
        **({"whole_words": "jieba 0.42.1"} if whole_words else {}),
    }  # fmt: skip

    def build(new: Path) -> None:
        progress = TextProgress(f"Tokenising {corpus.path}", corpus.bytes, "tokens")
        tokenise = Tokenise(tokenizer, corpus.split, whole_words)
        with RowWriter(new, tokenise.ids, max_seq_len) as writer, Workers((tokenise,), processes) as workers:
            for piece in workers.ordered(tokenise, corpus.chunks()):
                tokens = _as_tokens(piece)
                picked = spans(tokens, 0, len(piece.documents), options, seed=0, epoch=0)
                writer.append(*rows_of(tokens, picked, tokenizer, max_seq_len))
                progress.show(writer.tokens, piece.bytes_read)
        if not writer.rows:
            raise UserError(f"{corpus.path} contains no word that is in the vocabulary.")
        storage.write_json(new / "meta.json", {**description, "source": corpus.path, **writer.counts()})

    return open_cached("tokens", description, TokenStore.open, build)


def _as_tokens(piece: TokenisedChunk) -> CorpusTokens:
    def bounds(lengths: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(lengths)])

    return CorpusTokens(piece.ids, bounds(piece.sentences), bounds(piece.documents))
