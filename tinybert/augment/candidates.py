"""Candidates for English words: from a masked LM for single-token words, from word vectors for the others.

The procedure is that of Huawei's TinyBERT (data_augmentation.py): the candidates of a single-token word are the top M tokens at its
position, see `SentenceReader`; a word of several tokens gets its M nearest words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinybert.augment.eligible import is_eligible
from tinybert.augment.reading import Gap, SentenceReader
from tinybert.augment.word_vectors import WordVectors
from tinybert.models.masked_lm import MaskedLM

MASKED_LM, VECTORS, KEPT = 0, 1, 2  # sources; KEPT: the word is not in the table, or beyond the model's positions
ROUTES = ("masked LM", "word vectors", "kept")
_WORDS = 1 << 16  # cached words with their tokens


@dataclass(frozen=True)
class Choice:
    """A word that may be replaced: its position, the source of its candidates, and the candidates, best first."""

    word: int
    route: int
    candidates: list[str]


@dataclass(frozen=True)
class WordChoices:
    """A text as words separated by `space`, and the choices among them."""

    words: list[str]
    choices: list[Choice]
    space: str


class Candidates:
    """Finds candidates with a masked LM and a table of word vectors.

    count: M, the number of tokens or neighbours. match_case: see `is_eligible`. words_only: exclude candidates that are not words
    (special tokens, digits and punctuation); otherwise only word continuations are excluded, as published. masking: see
    `SentenceReader`.
    """

    def __init__(
        self, model: MaskedLM, table: WordVectors, count: int, match_case: bool = False, words_only: bool = True, masking: bool = True
    ) -> None:
        self.model, self.table, self.count = model, table, count
        self.match_case, self.words_only = match_case, words_only
        self.reader, self.tokenizer = SentenceReader(model, masking), model.tokenizer
        self._pieces = lru_cache(_WORDS)(lambda word: tuple(self.tokenizer.ids([word])[0]))

    def of(self, texts: list[str]) -> list[WordChoices]:
        """The words of each text and their candidates."""
        found = self.find(texts)
        bounds = np.searchsorted(found[:, 0], np.arange(len(texts) + 1))
        result = []
        for i, text in enumerate(texts):
            words = self.tokenizer.words(text)
            result.append(WordChoices(words, self.choices(words, found[bounds[i] : bounds[i + 1]]), " "))
        return result

    def find(self, texts: list[str]) -> np.ndarray:
        """Candidates of the eligible words of these texts: int32 `[W, 3 + M]`.

        A row has the text's index, the word's index, the source, and ids of tokens or table rows, best first, padded with -1.
        """
        found: list[np.ndarray] = []
        rare: dict[int, int] = {}  # row of the result -> row of the table
        for number, text in enumerate(texts):
            words = self.tokenizer.words(text)
            pieces = [self._pieces(word) for word in words]
            gaps = []
            at = 1
            for i, (word, own) in enumerate(zip(words, pieces, strict=True)):
                if is_eligible(word, self.match_case):
                    if len(own) > 1 and (known := self.table.row(word)) is not None:
                        rare[len(found)] = known
                    elif len(own) == 1:
                        gaps.append(Gap((at,), len(found)))
                    found.append(np.array([number, i, KEPT] + [-1] * self.count, np.int32))
                at += len(own)
            self.reader.add([piece for word in pieces for piece in word], gaps)
        result = np.array(found, np.int32).reshape(-1, 3 + self.count)
        for row, near in self._near(rare).items():
            result[row, 2] = VECTORS
            result[row, 3 : 3 + len(near)] = near
        for gaps, hidden in self.reader.outputs():
            best = self.model.top(hidden, self.count)
            rows = [gap.word for gap in gaps]
            result[rows, 2] = MASKED_LM
            result[rows, 3 : 3 + best.shape[1]] = best
        return result

    def choices(self, words: list[str], rows: np.ndarray) -> list[Choice]:
        """The candidates of one text as words, from its rows of `find`; a word without candidates is its own candidate."""
        found = []
        for _, word, route, *ids in rows.tolist():
            own = words[word]
            if route == MASKED_LM:
                names = [self.tokenizer.vocabulary[i] for i in ids if i >= 0]
                names = [name for name in names if not name.startswith("##")]
            else:
                names = [self.table.words[i] for i in ids if i >= 0]
                names = [name.title() for name in names] if own.istitle() else names
            if self.words_only:
                names = [name for name in names if name.isalpha()]
            found.append(Choice(word, route, names or [own]))
        return found

    def _near(self, rare: dict[int, int]) -> dict[int, np.ndarray]:
        near = self.table.neighbours(rare.values(), self.count) if rare else {}
        return {row: near[known] for row, known in rare.items()}
