"""Answers in a text: the best span over all windows of a question, and scores as defined by SQuAD and CMRC."""

from __future__ import annotations

import re
import string
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from tinybert.data.questions import Question, Windows

BEST = 20  # starts and ends of a window that are combined, as in BERT's script
LONGEST = 50  # tokens of an answer
_HAN = re.compile("[\u4e00-\u9fa5]")
# punctuation for CMRC's script; single characters, so its "……" never matches
_CMRC_MARKS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


@dataclass(frozen=True)
class Answer:
    """A span of a text: its characters, its score (sum of both logits), and how much better "no answer" scores."""

    text: str
    begin: int
    end: int
    score: float
    null_over_best: float


def best_answers(logits: np.ndarray, windows: Windows) -> list[Answer | None]:
    """The best span of each question over all its windows; None if there is none. logits: `[tokens, 2]`."""
    best: list[Answer | None] = [None] * len(windows.questions)
    nothing = np.full(len(best), np.inf)
    for row, number in enumerate(windows.examples):
        span = slice(int(windows.offsets[row]), int(windows.offsets[row + 1]))
        own, begins, ends = logits[span], windows.begins[span], windows.ends[span]
        nothing[number] = min(nothing[number], own[0].sum())
        inside = np.flatnonzero(begins >= 0)
        if not len(inside):
            continue
        starts, stops = (inside[np.argsort(-own[inside, side], kind="stable")[:BEST]] for side in (0, 1))
        scores = own[starts, 0][:, None] + own[stops, 1]
        length = stops - starts[:, None]
        scores = np.where((length >= 0) & (length < LONGEST), scores, -np.inf)
        at = np.unravel_index(scores.argmax(), scores.shape)
        if np.isfinite(scores[at]) and (best[number] is None or scores[at] > best[number].score):
            begin, end = int(begins[starts[at[0]]]), int(ends[stops[at[1]]])
            best[number] = Answer(windows.questions[number].context[begin:end], begin, end, float(scores[at]), 0.0)
    return [
        None if one is None else Answer(one.text, one.begin, one.end, one.score, float(null - one.score))
        for one, null in zip(best, nothing, strict=True)
    ]


def texts_of(answers: list[Answer | None], threshold: float | None) -> list[str]:
    """The text of each answer; empty if there is none, or if "no answer" is better by more than the threshold (None: never)."""
    return ["" if one is None or (threshold is not None and one.null_over_best > threshold) else one.text for one in answers]


# === Scores ===


def is_chinese(questions: list[Question]) -> bool:
    """Whether most questions are Chinese, so that answers are compared as in CMRC."""
    return 2 * sum(bool(_HAN.search(question.text)) for question in questions) > len(questions)


def scores_of(question: Question, text: str, chinese: bool) -> tuple[float, float]:
    """Exact match and F1 of an answer, the best over all gold answers; an unanswerable question has the empty answer."""
    compare = _cmrc if chinese else _squad
    pairs = [compare(gold, text) for gold in question.answers or ("",)]
    return max(exact for exact, _ in pairs), max(f1 for _, f1 in pairs)


def _squad(gold: str, text: str) -> tuple[float, float]:
    """Rajpurkar et al. 2016 and 2018: lower case without punctuation and articles; F1 over bags of words."""
    one, other = (_plain_words(each) for each in (gold, text))
    exact = float(one == other)
    if not one or not other:
        return exact, exact
    common = sum((Counter(one) & Counter(other)).values())
    return exact, 2 * common / (len(one) + len(other)) if common else 0.0


def _plain_words(text: str) -> list[str]:
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def _cmrc(gold: str, text: str) -> tuple[float, float]:
    """Cui et al. 2019: exact match without punctuation; F1 over the longest common run of ideographs and words."""
    exact = float(_without_marks(gold) == _without_marks(text))
    one, other = _segments(gold), _segments(text)
    run = SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size
    return exact, 2 * run / (len(one) + len(other)) if run else 0.0


def _without_marks(text: str) -> str:
    return "".join(character for character in text.lower().strip() if character not in _CMRC_MARKS)


def _segments(text: str) -> list[str]:
    """Single ideographs, and words in between. Punctuation is removed first, which joins its neighbours."""
    parts = re.split("([\u4e00-\u9fa5])", _without_marks(text))
    return [word for part in parts for word in (part.split() if not _HAN.match(part) else [part])]


def of_answers(names: tuple[str, ...], texts: list[str], questions: list[Question]) -> dict[str, float]:
    """The given metrics of answers, as fractions of 1.

    answer_f1, exact_match: means over questions; average: the mean of both (CMRC's). has_answer_f1: over questions with an answer.
    no_answer_accuracy: over questions without one; 0.0 if there are none.
    """
    chinese = is_chinese(questions)
    pairs = np.array([scores_of(question, text, chinese) for question, text in zip(questions, texts, strict=True)])
    has = np.array([question.answerable for question in questions])
    exact, f1 = pairs.mean(0)
    values = {
        "answer_f1": f1,
        "exact_match": exact,
        "average": (exact + f1) / 2,
        "has_answer_f1": pairs[has, 1].mean() if has.any() else 0.0,
        "no_answer_accuracy": pairs[~has, 1].mean() if not has.all() else 0.0,
    }
    return {name: float(values[name]) for name in names}


def best_threshold(answers: list[Answer | None], questions: list[Question]) -> float:
    """The threshold of `null_over_best` with the best F1; infinite if every question has an answer."""
    if all(question.answerable for question in questions):
        return float("inf")
    chinese = is_chinese(questions)
    f1 = np.array([scores_of(q, one.text if one else "", chinese)[1] for q, one in zip(questions, answers, strict=True)])
    empty = np.array([float(not question.answerable) for question in questions])
    values = np.array([one.null_over_best if one else np.inf for one in answers])
    order = np.argsort(values, kind="stable")
    # with the threshold at the i-th value, the first i + 1 of them are answered
    totals = empty.sum() + np.concatenate([[0.0], np.cumsum((f1 - empty)[order])])
    best = int(totals.argmax())
    return float(values[order[best - 1]]) if best else float(values[order[0]] - 1.0)
