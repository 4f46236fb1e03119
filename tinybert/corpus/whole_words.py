"""Chinese text as word pieces that know which of them go on a word: what whole-word masking needs beyond `##`.

In an id that goes on a word the vocabulary's size is added: one array holds both, as ordinary rows of a store do.
"""

from __future__ import annotations

from functools import lru_cache

from tinybert.data import chinese
from tinybert.data.tokenizer import WordPiece

_RUNS = 1 << 16  # stretches without ideographs whose pieces are remembered


class WholeWords:
    """`ids(texts)` as `WordPiece.ids`, the vocabulary's size added to pieces that go on one of jieba's words.

    Ideographs go on a word where jieba says so. Between them a piece is kept whole, and goes on where its spelling says so (`##`): a
    piece may lie over two of jieba's words, in plain ASCII too ("1.5L" is 1.5 and L, and 1 . 5L), and there its own border counts.
    """

    def __init__(self, tokenizer: WordPiece) -> None:
        self.tokenizer, self.size = tokenizer, tokenizer.vocab_size
        self._goes_on = [piece.startswith("##") for piece in tokenizer.vocabulary]
        self._ideographs = lru_cache(_RUNS)(lambda character: tokenizer.ids([character])[0])
        self._others = lru_cache(_RUNS)(self._cut)

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of each text, without special tokens around it; untruncated."""
        return [self._ids(text) for text in texts]

    def _ids(self, text: str) -> list[int]:
        begins, at = set(), 0
        for word in chinese.words(text):
            begins.add(at)
            at += len(word)
        found: list[int] = []
        end = 0
        for run in chinese.IDEOGRAPHS.finditer(text):
            found += self._others(text[end : run.start()])
            for i in range(*run.span()):
                goes_on = 0 if i in begins else self.size
                found += [piece + goes_on for piece in self._ideographs(text[i])]
            end = run.end()
        return found + self._others(text[end:])

    def _cut(self, run: str) -> list[int]:
        return [piece + self.size * self._goes_on[piece] for piece in self.tokenizer.ids([run])[0]]
