"""Candidates for Chinese words: a masked LM over all characters of a word, or word vectors if the table contains it.

Words are jieba's, and so are candidates: the words of the same length whose characters have the highest sum of logits. All characters
of a word are masked at once. Anything that is not in the dictionary is kept: Latin letters, numbers, names, white space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tinybert.augment.candidates import KEPT, MASKED_LM, VECTORS, Choice, WordChoices
from tinybert.augment.lexicon import Lexicon, Script
from tinybert.augment.reading import Gap, SentenceReader
from tinybert.augment.word_vectors import WordVectors
from tinybert.data import chinese
from tinybert.models.masked_lm import MaskedLM

_RUNS = 1 << 16  # cached runs of text without ideographs
_POSITIONS = 256  # scored at a time


@dataclass(frozen=True)
class _Word:
    text: str
    script: Script


class ChineseCandidates:
    """Finds candidates with one masked LM and, for words of several characters, a table of word vectors if there is one.

    count: M, the number of candidates per word. masking: see `SentenceReader`.

    Raises:
        UserError: jieba or OpenCC is not installed.
    """

    def __init__(self, model: MaskedLM, table: WordVectors | None, count: int, masking: bool = False) -> None:
        self.model, self.table, self.count = model, table, count
        self.reader, self.tokenizer = SentenceReader(model, masking), model.tokenizer
        self.lexicon = Lexicon(self.tokenizer.vocabulary)
        self._pieces = lru_cache(_RUNS)(lambda run: tuple(self.tokenizer.ids([run])[0]))

    def of(self, texts: list[str]) -> list[WordChoices]:
        """The words of each text and their candidates."""
        result = [WordChoices(chinese.words(text), [], "") for text in texts]
        pending: list[_Word] = []
        places: list[tuple[int, int]] = []  # of each pending word: its text and its index there
        near: dict[tuple[int, int], tuple[int, bool]] = {}  # position -> row of the table, whether the text is traditional
        for number, (text, choices) in enumerate(zip(texts, result, strict=True)):
            pieces, position_of = self._read(text)
            traditional = chinese.is_traditional(text)
            script = self.lexicon.traditional if traditional else self.lexicon.simplified
            gaps, at = [], 0
            for i, word in enumerate(choices.words):
                if self.lexicon.is_replaceable(word):
                    row = self.table.row(word) if self.table is not None else None
                    if row is not None:
                        near[number, i] = row, traditional
                    else:
                        gaps.append(Gap(tuple(position_of[at : at + len(word)]), len(pending)))
                        pending.append(_Word(word, script))
                        places.append((number, i))
                at += len(word)
            self.reader.add(pieces, gaps)
        found = {place: Choice(place[1], KEPT, [word.text]) for place, word in zip(places, pending, strict=True)}
        for gap, names in self._read_gaps(pending):
            place = places[gap.word]
            found[place] = Choice(place[1], MASKED_LM, names)
        found |= self._near(near, result)
        for (number, _), choice in sorted(found.items()):
            result[number].choices.append(choice)
        return result

    def _read(self, text: str) -> tuple[list[int], list[int]]:
        """The tokens of a text, and for each of its characters the position of its token in `[CLS] text`, if it is an ideograph."""
        pieces: list[int] = []
        position_of = [0] * len(text)
        end = 0
        for run in chinese.IDEOGRAPHS.finditer(text):
            pieces += self._pieces(text[end : run.start()])
            for i in range(*run.span()):
                position_of[i] = len(pieces) + 1
                pieces += self._pieces(text[i])
            end = run.end()
        pieces += self._pieces(text[end:])
        return pieces, position_of

    def _read_gaps(self, words: list[_Word]) -> Iterator[tuple[Gap, list[str]]]:
        for gaps, hidden in self.reader.outputs():
            begin = 0  # of the first gap's positions
            for part in _parts(gaps):
                size = sum(len(gap.positions) for gap in part)
                logits = self.model.logits(hidden[begin : begin + size]).numpy()
                scores = {script: script.scores(logits) for script in dict.fromkeys(words[gap.word].script for gap in part)}
                at = 0
                for gap in part:
                    word, here = words[gap.word], slice(at, at + len(gap.positions))
                    names = self.lexicon.best(word.text, logits[here], scores[word.script][here], word.script, self.count)
                    yield gap, names or [word.text]
                    at = here.stop
                begin += size

    def _near(self, near: dict[tuple[int, int], tuple[int, bool]], texts: list[WordChoices]) -> dict[tuple[int, int], Choice]:
        if self.table is None:
            return {}
        rows = self.table.neighbours((row for row, _ in near.values()), 4 * self.count)  # many do not fit
        found = {}
        for (number, i), (row, traditional) in near.items():
            own = texts[number].words[i]
            names = [self.table.words[int(other)] for other in rows[row]]
            names = [name for name in names if _in_script(name, traditional) and self.lexicon.is_like(name, own)][: self.count]
            found[number, i] = Choice(i, VECTORS, names or [own])
        return found


def _in_script(name: str, traditional: bool) -> bool:
    """Whether a neighbour can be written so in a text of this script."""
    return not any(map(chinese.is_simplified_only, name)) if traditional else chinese.simplified(name) == name


def _parts(gaps: list[Gap]) -> Iterator[list[Gap]]:
    part, size = [], 0
    for gap in gaps:
        if part and size + len(gap.positions) > _POSITIONS:
            yield part
            part, size = [], 0
        part.append(gap)
        size += len(gap.positions)
    yield part
