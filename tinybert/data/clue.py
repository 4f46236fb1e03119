"""CLUE records whose texts are not simply the values of two keys, converted as in PaddleNLP's examples."""

from __future__ import annotations

from collections.abc import Callable


class RecordError(Exception):
    """A malformed record; says what was found and what was expected."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found, self.expected = found, expected


def csl(record: dict[str, object]) -> tuple[str, str]:
    """The keywords separated by spaces, and the abstract that they may belong to."""
    words, abstract = record.get("keyword"), record.get("abst")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not isinstance(abstract, str):
        raise RecordError("no list of texts under 'keyword', or no text under 'abst'", "both")
    return " ".join(words), abstract


def cluewsc(record: dict[str, object]) -> tuple[str, None]:
    """The text with `_` around the noun phrase (span1) and `[` and `]` around the pronoun (span2) that may refer to it."""
    text, target = record.get("text"), record.get("target")
    if not isinstance(text, str) or not isinstance(target, dict):
        raise RecordError("no text under 'text', or no object under 'target'", "both")
    marks = []
    for name, left, right in (("span1", "_", "_"), ("span2", "[", "]")):
        span, at = target.get(f"{name}_text"), target.get(f"{name}_index")
        if isinstance(at, str) and at.isdecimal():  # numbers are kept as text
            at = int(at)
        if not isinstance(span, str) or not isinstance(at, int) or text[at : at + len(span)] != span:
            raise RecordError(f"{span!r} of {name} is not at position {at} of the text", "its position, counted from 0")
        marks += [(at, 0, left), (at + len(span), -1, right)]
    for at, _, mark in sorted(marks, reverse=True):
        text = text[:at] + mark + text[at:]
    return text, None


RECORDS: dict[str, Callable[[dict[str, object]], tuple[str, str | None]]] = {"csl": csl, "cluewsc": cluewsc}
