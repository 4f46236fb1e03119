"""Chinese tokens with marked word continuations: whole-word masking needs them, because `##` does not mark them.

The vocabulary's size is added to the id of a continuation, so that ordinary stores can hold the ids.
"""

from __future__ import annotations

from functools import lru_cache

from tinybert.data import chinese
from tinybert.data.layout import Flat
from tinybert.data.tokenizer import WordPiece

_RUNS = 1 << 16  # cached runs of text without ideographs


class WholeWords:
    """`ids(texts)` like `WordTable.ids`, with the vocabulary's size added to tokens that continue one of jieba's words.

    For ideographs, jieba's words decide. Text between them is tokenised as a whole and `##` marks continuations: a token may span two of
    jieba's words, even in plain ASCII ("1.5L" is 1.5 and L, but tokens are 1 . 5L), so its own boundaries are used there.
    """

    def __init__(self, tokenizer: WordPiece) -> None:
        self.tokenizer, self.size = tokenizer, tokenizer.vocab_size
        self._goes_on = [piece.startswith("##") for piece in tokenizer.vocabulary]
        self._ideographs = lru_cache(_RUNS)(lambda character: tokenizer.ids([character])[0])
        self._others = lru_cache(_RUNS)(self._cut)

    def ids(self, texts: list[str]) -> Flat:
        """Token ids of each text, without special tokens and not truncated."""
        return Flat.of([self._ids(text) for text in texts])

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
