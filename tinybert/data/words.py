"""Word pieces of long texts: every word is cut once and looked up from then on."""

from __future__ import annotations

import itertools

import numpy as np

from tinybert.data.layout import Flat, positions
from tinybert.data.tokenizer import WordPiece

MOST_WORDS = 1 << 18  # words remembered, some 60 MB; beyond, memory starts anew
MOST_CHARACTERS = MOST_WORDS * 12  # the same for text without spaces, where a word is a sentence


class WordTable:
    """`ids(texts)` as `WordPiece.ids`, several times as fast on running text.

    BERT never joins what a space separates, so a text's ids are those of its words one after another; and most words of running text
    are repetitions. Only ASCII spaces separate here: other white space stays inside a word and is left to the tokenizer.
    """

    def __init__(self, tokenizer: WordPiece) -> None:
        self.tokenizer = tokenizer
        self._words = _Numbers()
        self._ids = np.zeros(0, np.int64)
        self._lengths = self._starts = np.zeros(0, np.int64)

    def ids(self, texts: list[str]) -> Flat:
        """The word-piece ids of each text, without special tokens around it; untruncated."""
        if len(self._words) > MOST_WORDS or self._words.characters > MOST_CHARACTERS:
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
            flat = Flat.of(self.tokenizer.ids(new))
            self._ids = np.concatenate([self._ids, flat.values])
            self._lengths = np.concatenate([self._lengths, flat.lengths])
            self._starts = np.cumsum(self._lengths) - self._lengths
            self._words.new = []


class _Numbers(dict):
    """A number for every word, in the order of their first appearance; `new` are those that have no ids yet."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []
        self.characters = 0

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        self.new.append(word)
        self.characters += len(word)
        return number
