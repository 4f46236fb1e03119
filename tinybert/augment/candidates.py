"""Candidates for every word of many sentences: from a masked LM for words of one piece, from GloVe for the others.

The procedure is that of Huawei's TinyBERT (data_augmentation.py): a word of one piece is masked in `[CLS] masked sentence [SEP]
sentence [SEP]`, and the M best pieces at its place are its candidates; a word of several pieces takes its M nearest GloVe words.
"""

from __future__ import annotations

from collections.abc import Callable
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
class Choice:
    """One word that may be replaced: where it stands, where its candidates come from, and the candidates, best first."""

    word: int
    route: int
    candidates: list[str]


class Candidates:
    """Finds candidates with one masked LM and one table.

    count: M, how many pieces or neighbours are asked for. match_case: see `is_eligible`. words_only: candidates that are no words are
    left out, special tokens, digits and punctuation; without it all pieces that begin a word stay, as published.
    """

    def __init__(self, model: MaskedLM, table: GloveTable, count: int, match_case: bool = False, words_only: bool = True) -> None:
        self.model, self.table, self.count = model, table, count
        self.match_case, self.words_only = match_case, words_only
        self.tokenizer: WordPiece = model.tokenizer
        self._pieces = lru_cache(_WORDS)(lambda word: tuple(self.tokenizer.ids([word])[0]))

    def find(self, texts: list[str], between: Callable[[], None] = lambda: None) -> np.ndarray:
        """Candidates of the eligible words of these texts: int32 `[W, 3 + M]`.

        A row holds the text's position, the word's position, the route, and ids of word pieces or rows of the table, best first, -1
        behind the last. `between` is called between forward passes.
        """
        found: list[np.ndarray] = []
        gaps: dict[int, list[tuple[int, np.ndarray, int]]] = {}  # length -> (row of the result, ids, position of the mask)
        rare: dict[int, int] = {}  # row of the result -> row of the table
        segments: dict[int, list[int]] = {}
        for number, text in enumerate(texts):
            words = self.tokenizer.words(text)
            pieces = [self._pieces(word) for word in words]
            flat = [piece for word in pieces for piece in word]
            pair = self._pair(flat)
            at = 1
            for i, (word, ids) in enumerate(zip(words, pieces, strict=True)):
                if is_eligible(word, self.match_case):
                    row = np.full(3 + self.count, -1, np.int32)
                    row[:3] = number, i, KEPT
                    if len(ids) > 1 and (known := self.table.row(word)) is not None:
                        rare[len(found)] = known
                    elif len(ids) == 1 and at < len(pair):
                        gaps.setdefault(len(pair), []).append((len(found), pair, at))
                        segments.setdefault(len(found), [0] * (len(flat) + 2) + [1] * (len(flat) + 1))
                    found.append(row)
                at += len(ids)
        result = np.array(found, np.int32).reshape(-1, 3 + self.count)
        for row, near in self._near(rare).items():
            result[row, 2] = GLOVE
            result[row, 3 : 3 + len(near)] = near
        for length, group in sorted(gaps.items()):
            size = max(1, BATCH_TOKENS // length)
            for begin in range(0, len(group), size):
                between()
                part = group[begin : begin + size]
                rows, positions = np.array([row for row, _, _ in part]), np.array([at for _, _, at in part], np.int64)
                ids = np.stack([pair for _, pair, _ in part])
                ids[np.arange(len(part)), positions] = self.tokenizer.mask_id
                halves = np.array([segments[row][:length] for row in rows], np.int64)
                best = self.model.top(ids, halves, positions, self.count)
                result[rows, 2] = MASKED_LM
                result[rows, 3 : 3 + best.shape[1]] = best
        return result

    def longest(self, texts: list[str]) -> list[int]:
        """How many positions each text needs to be read whole."""
        return [2 * len(ids) + 3 for ids in self.tokenizer.ids(texts)]

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

    def _pair(self, ids: list[int]) -> np.ndarray:
        """[CLS] sentence [SEP] sentence [SEP], int64, cut at the model's last position, as in Huawei's script."""
        tokenizer = self.tokenizer
        whole = [tokenizer.cls_id, *ids, tokenizer.sep_id, *ids, tokenizer.sep_id]
        return np.array(whole[: self.model.positions], np.int64)

    def _near(self, rare: dict[int, int]) -> dict[int, np.ndarray]:
        near = self.table.neighbours(rare.values(), self.count) if rare else {}
        return {row: near[known] for row, known in rare.items()}
