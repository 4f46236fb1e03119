"""Fast tokenisation of long texts: every word is tokenised once and then looked up."""

from __future__ import annotations

import itertools
import re

import numpy as np

from tinybert.data.layout import Flat, positions
from tinybert.data.tokenizer import WordPiece

MAX_WORDS = 1 << 17  # cached words, about 30 MB; the cache is cleared beyond
MAX_CHARACTERS = MAX_WORDS * 12  # the same for text without spaces, where a sentence is one word
WORDS_PER_CALL = 128  # words passed to the tokenizer as one text
_PLAIN = re.compile(r"[!-~]+")
_RUNS = re.compile(r"[0-9A-Za-z]+|[!-~]")


class WordTable:
    """`ids(texts)` like `WordPiece.ids`, several times faster on running text.

    BERT tokens never span a space, so a text's ids are the concatenated ids of its words, and most words of running text are repeated.
    Only ASCII spaces are split here: other white space stays in the word for the tokenizer.
    """

    def __init__(self, tokenizer: WordPiece) -> None:
        self.tokenizer = tokenizer
        self._special = frozenset(tokenizer.special.values())
        self._continuing = np.array([token.startswith("##") for token in tokenizer.vocabulary])
        self._words = _Numbers()
        self._ids = np.zeros(0, np.int64)
        self._lengths = self._starts = np.zeros(0, np.int64)

    def ids(self, texts: list[str]) -> Flat:
        """Token ids of each text, without special tokens and not truncated."""
        if len(self._words) > MAX_WORDS or self._words.characters > MAX_CHARACTERS:
            self.__init__(self.tokenizer)
        cut = [text.split(" ") for text in texts]
        numbers = np.fromiter(map(self._words.__getitem__, itertools.chain.from_iterable(cut)), np.int64)
        self._learn()
        counts = self._lengths[numbers]
        values = self._ids[positions(self._starts[numbers], counts)]
        words = np.fromiter(map(len, cut), np.int64, len(cut))
        ends = np.concatenate([[0], np.cumsum(counts)])[np.cumsum(words)]
        return Flat(values, np.diff(ends, prepend=0))

    def _learn(self) -> None:
        new = self._words.new
        if new:
            flat = self._cut(new)
            self._ids = np.concatenate([self._ids, flat.values])
            self._lengths = np.concatenate([self._lengths, flat.lengths])
            self._starts = np.cumsum(self._lengths) - self._lengths
            self._words.new = []

    def _cut(self, words: list[str]) -> Flat:
        """The ids of each word. Plain ASCII words are passed to the tokenizer in batches, because a call costs more than a word.

        The ids of each word are found by counting: a run of letters and digits, and every other character, becomes one or more tokens, of
        which all but the first are continuations.
        """
        plain = [_PLAIN.fullmatch(word) is not None and word not in self._special for word in words]
        easy = list(itertools.compress(words, plain))
        lines = [" ".join(easy[begin : begin + WORDS_PER_CALL]) for begin in range(0, len(easy), WORDS_PER_CALL)]
        ids = np.array([i for line in self.tokenizer.ids(lines) for i in line], np.int64)
        runs = np.cumsum([len(_RUNS.findall(word)) for word in easy], dtype=np.int64)
        first = np.append(np.flatnonzero(~self._continuing[ids]), len(ids))
        if len(first) - 1 != (runs[-1] if len(runs) else 0):
            return Flat.of(self.tokenizer.ids(words))  # a vocabulary that is not BERT's
        hard = Flat.of(self.tokenizer.ids([word for word, is_plain in zip(words, plain, strict=True) if not is_plain]))
        lengths, where = np.zeros(len(words), np.int64), np.array(plain)
        lengths[where], lengths[~where] = np.diff(first[runs], prepend=0), hard.lengths
        values = np.zeros(int(lengths.sum()), np.int64)
        of_plain = np.repeat(where, lengths)
        values[of_plain], values[~of_plain] = ids, hard.values
        return Flat(values, lengths)


class _Numbers(dict):
    """A number for every word, in order of first appearance; `new` are those without ids yet."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []
        self.characters = 0

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self.new.append(word)
        self.characters += len(word)
        return number
