"""Candidates for every word of many sentences: from a masked LM for words of one piece, from GloVe for the others.

The procedure is that of Huawei's TinyBERT (data_augmentation.py): a word of one piece is masked in `[CLS] masked sentence [SEP]
sentence [SEP]`, and the M best pieces at its place are its candidates; a word of several pieces takes its M nearest GloVe words. Without
masks one pass over `[CLS] sentence [SEP]` serves all its words, as in lexical substitution (Zhou et al. 2019, ACL P19-1328).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinybert.augment.eligible import is_eligible
from tinybert.augment.glove import GloveTable
from tinybert.data.tokenizer import WordPiece
from tinybert.models.masked_lm import MaskedLM

MASKED_LM, GLOVE, KEPT = 0, 1, 2  # routes; KEPT: the table does not know the word, or it lies beyond the model's positions
ROUTES = ("masked LM", "GloVe", "kept")
BATCH_TOKENS = 2048  # a forward pass reads at most so many; its rows have one length, so nothing is padded
_WORDS = 1 << 16  # words whose pieces are remembered


@dataclass(frozen=True)
class _Reading:
    """One row for the model: its ids, where its second segment begins, and the positions to be read, with their rows of the result."""

    ids: np.ndarray
    second: int
    at: list[int]
    rows: list[int]


@dataclass(frozen=True)
class Choice:
    """One word that may be replaced: where it stands, where its candidates come from, and the candidates, best first."""

    word: int
    route: int
    candidates: list[str]


class Candidates:
    """Finds candidates with one masked LM and one table.

    count: M, how many pieces or neighbours are asked for. match_case: see `is_eligible`. words_only: candidates that are no words are
    left out, special tokens, digits and punctuation; without it all pieces that begin a word stay, as published. masking: each word
    is masked in a row of its own, or none is and every text is one row.
    """

    def __init__(
        self, model: MaskedLM, table: GloveTable, count: int, match_case: bool = False, words_only: bool = True, masking: bool = True
    ) -> None:
        self.model, self.table, self.count = model, table, count
        self.match_case, self.words_only, self.masking = match_case, words_only, masking
        self.tokenizer: WordPiece = model.tokenizer
        self._pieces = lru_cache(_WORDS)(lambda word: tuple(self.tokenizer.ids([word])[0]))

    def find(self, texts: list[str]) -> np.ndarray:
        """Candidates of the eligible words of these texts: int32 `[W, 3 + M]`.

        A row holds the text's position, the word's position, the route, and ids of word pieces or rows of the table, best first, -1
        behind the last.
        """
        found: list[np.ndarray] = []
        readings: dict[int, list[_Reading]] = {}  # by length
        rare: dict[int, int] = {}  # row of the result -> row of the table
        for number, text in enumerate(texts):
            words = self.tokenizer.words(text)
            pieces = [self._pieces(word) for word in words]
            ids = self._ids([piece for word in pieces for piece in word])
            gaps: dict[int, int] = {}  # position -> row of the result
            at = 1
            for i, (word, own) in enumerate(zip(words, pieces, strict=True)):
                if is_eligible(word, self.match_case):
                    if len(own) > 1 and (known := self.table.row(word)) is not None:
                        rare[len(found)] = known
                    elif len(own) == 1 and at < len(ids):
                        gaps[at] = len(found)
                    found.append(np.array([number, i, KEPT] + [-1] * self.count, np.int32))
                at += len(own)
            second = sum(map(len, pieces)) + 2
            parts = [([at], [row]) for at, row in gaps.items()] if self.masking else [(list(gaps), list(gaps.values()))] if gaps else []
            readings.setdefault(len(ids), []).extend(_Reading(ids, second, *part) for part in parts)
        result = np.array(found, np.int32).reshape(-1, 3 + self.count)
        for row, near in self._near(rare).items():
            result[row, 2] = GLOVE
            result[row, 3 : 3 + len(near)] = near
        for length, group in sorted(readings.items()):
            size = max(1, BATCH_TOKENS // length)
            for begin in range(0, len(group), size):
                self._read(group[begin : begin + size], result)
        return result

    def _read(self, readings: list[_Reading], result: np.ndarray) -> None:
        """Fill in the candidates at the gaps of some rows of one length."""
        ids = np.stack([reading.ids for reading in readings])
        at = np.concatenate([reading.at for reading in readings])
        of = np.repeat(np.arange(len(readings)), [len(reading.at) for reading in readings])
        if self.masking:
            ids[of, at] = self.tokenizer.mask_id
        segments = (np.arange(ids.shape[1]) >= np.array([[reading.second] for reading in readings])).astype(np.int64)
        best = self.model.top(self.model.hidden(ids, segments, of, at), self.count)
        rows = np.concatenate([reading.rows for reading in readings])
        result[rows, 2] = MASKED_LM
        result[rows, 3 : 3 + best.shape[1]] = best

    def longest(self, texts: list[str]) -> list[int]:
        """How many positions each text needs to be read whole."""
        return [2 * len(ids) + 3 if self.masking else len(ids) + 2 for ids in self.tokenizer.ids(texts)]

    def choices(self, words: list[str], rows: np.ndarray) -> list[Choice]:
        """The candidates of one text as words, from its rows of `find`; a word without any is its own candidate."""
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

    def _ids(self, ids: list[int]) -> np.ndarray:
        """[CLS] sentence [SEP], with masks [CLS] sentence [SEP] sentence [SEP]: int64, cut at the model's last position as published."""
        tokenizer = self.tokenizer
        second = [*ids, tokenizer.sep_id] if self.masking else []
        return np.array([tokenizer.cls_id, *ids, tokenizer.sep_id, *second][: self.model.positions], np.int64)

    def _near(self, rare: dict[int, int]) -> dict[int, np.ndarray]:
        near = self.table.neighbours(rare.values(), self.count) if rare else {}
        return {row: near[known] for row, known in rare.items()}
