"""Predictions inside a text: named entities and answers, with their character ranges."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tinybert.data.answers import best_answers, texts_of
from tinybert.data.questions import Question, Windows
from tinybert.data.questions import encoded as windows_of
from tinybert.data.store import TokenStore
from tinybert.data.tagged import TaggedWords
from tinybert.data.tagged import encoded as tagged_rows
from tinybert.data.tokenizer import WordPiece

# a CJK ideograph, a run of other letters and digits with marks inside such as "U.S" and "don't", or a single mark
_IDEOGRAPH = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\W{_IDEOGRAPH}]+(?:[^\w\s]+[^\W{_IDEOGRAPH}]+)*|[^\w\s]|_")


@dataclass(frozen=True)
class Span:
    """A part of a text: `text[begin:end]`.

    label: the type of an entity, None for an answer. score: for an entity the smallest probability of its words, for an answer the sum of
    its start and end logits.
    """

    text: str
    begin: int
    end: int
    label: str | None
    score: float


# === Entities ===


def words_of(text: str) -> list[tuple[int, int]]:
    """The character range of each word: split at white space, before and after ideographs, and at punctuation around a word."""
    return [match.span() for match in _WORD.finditer(text)]


def encode_words(texts: list[str], tokenizer: WordPiece, length: int) -> tuple[TokenStore, int]:
    """Texts as tagged words without tags, and the number of truncated texts."""
    sentences = [[text[begin:end] for begin, end in words_of(text)] for text in texts]
    blank = [np.zeros(len(words), np.int64) for words in sentences]
    flat, first, labels, counts, cut = tagged_rows(sentences, blank, tokenizer, length)
    store = TokenStore.from_arrays(flat, first=first, pad_id=tokenizer.pad_id)
    store.words = TaggedWords(labels, counts, np.concatenate(blank), np.cumsum([0, *map(len, sentences)]))
    return store, cut


def entities(texts: list[str], store: TokenStore, shares: np.ndarray, labels: tuple[str, ...]) -> list[tuple[Span, ...]]:
    """The entities of each text, from the probabilities of the tags of all words with a token `[W, C]`.

    An `I-` that does not continue an entity of its type starts one, as in conlleval.
    """
    from seqeval.metrics.sequence_labeling import get_entities

    found = []
    for text, first, last in zip(texts, store.words.places[:-1], store.words.places[1:], strict=True):
        own, words, spans = shares[first:last], words_of(text), []
        for name, start, stop in get_entities([labels[at] for at in own.argmax(1)]):
            begin, end = words[start][0], words[stop][1]
            spans.append(Span(text[begin:end], begin, end, name, float(own[start : stop + 1].max(1).min())))
        found.append(tuple(spans))
    return found


# === Answers ===


def encode_questions(questions: list[str], contexts: list[str], tokenizer: WordPiece, length: int, stride: int | None) -> TokenStore:
    """Questions with their contexts as windows of `length` tokens, `stride` tokens apart."""
    asked = [
        Question(str(number), question, context, (), None)
        for number, (question, context) in enumerate(zip(questions, contexts, strict=True))
    ]
    flat, first, _, examples, begins, ends = windows_of(asked, tokenizer, length, stride, labelled=False)
    store = TokenStore.from_arrays(flat, first=first, pad_id=tokenizer.pad_id)
    store.windows = Windows(examples, begins, ends, store.offsets, asked)
    return store


def answers(store: TokenStore, logits: np.ndarray, threshold: float | None) -> list[tuple[Span, ...]]:
    """The best answer to each question from the logits `[tokens, 2]`; empty if "no answer" is better by more than the threshold."""
    best = best_answers(logits, store.windows)
    return [
        () if one is None or not text else (Span(one.text, one.begin, one.end, None, one.score),)
        for one, text in zip(best, texts_of(best, threshold), strict=True)
    ]
