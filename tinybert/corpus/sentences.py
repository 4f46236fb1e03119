"""Splits paragraphs into sentences by punctuation: simple, fast, and the same on every machine.

A sentence ends after . ! or ? and closing quotes or brackets, if followed by white space and then a capital letter, a digit or an opening
quote or bracket; or after the full-width marks of Chinese and Japanese. A full stop after a single capital letter (J. Smith) or one of
a few dozen abbreviations does not end a sentence. Errors only move the boundaries of rows; no text is lost.
"""

from __future__ import annotations

import re

_END = re.compile(
    r"([.!?]+[\"'\u2019\u201d)\]]*)\s+(?=[\"'\u2018\u201c(\[]*[A-Z0-9\u00c0-\u00de\u0391-\u03a9\u0410-\u042f])|[。！？]+[」』”’）]*\s*"
)
_SHORT = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "jr", "sr", "lt", "col", "gen", "sgt", "capt", "rev", "hon", "gov", "sen", "rep",
    "no", "nos", "vol", "fig", "figs", "ed", "eds", "cf", "vs", "approx", "ca", "al", "etc", "inc", "ltd", "co", "corp", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "e.g", "i.e", "u.s", "u.k"
})  # fmt: skip
PARAGRAPH_SENTENCES = 1.5  # sentences per line above which lines are considered paragraphs


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph, in order; joined by their white space they are the original text."""
    found, begin = [], 0
    for end in _END.finditer(text):
        if end.group(1) == "." and _is_short(text[max(begin, end.start() - 12) : end.start()]):
            continue
        found.append(text[begin : end.end()].strip())
        begin = end.end()
    found.append(text[begin:].strip())
    return [sentence for sentence in found if sentence]


def _is_short(before: str) -> bool:
    word = before.rsplit(None, 1)[-1].lstrip("(\"'[") if before.strip() else ""
    return (len(word) == 1 and word.isupper()) or word.lower() in _SHORT


def are_paragraphs(lines: list[str]) -> bool:
    """Whether lines contain several sentences each, on average."""
    return sum(len(split_sentences(line)) for line in lines) >= PARAGRAPH_SENTENCES * max(1, len(lines))
