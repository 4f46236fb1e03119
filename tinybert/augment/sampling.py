"""Variants of one sentence: words are randomly replaced by their candidates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from tinybert.augment.candidates import ROUTES, WordChoices


@dataclass
class Tally:
    """Counts of sampling so far: words in variants, replaced words per source, draws, and draws without a new variant."""

    words: int = 0
    replaced: Counter[str] = field(default_factory=Counter)
    draws: int = 0
    duplicates: int = 0

    def as_dict(self) -> dict:
        """Plain values, for a record on disk."""
        return {"words": self.words, "replaced": dict(self.replaced), "draws": self.draws, "duplicates": self.duplicates}


def variants(text: str, found: WordChoices, count: int, p: float, random: Random, tally: Tally, unchanged: bool) -> list[str]:
    """At most `count` different variants of a sentence; a draw without a new one is not repeated.

    Each word of `found.choices` is replaced with probability p by one of its candidates, chosen uniformly. Random numbers are drawn in
    the order of Huawei's script: for each word a candidate, then whether it is used. unchanged: a draw in which no word was replaced
    counts as new if it differs from the original text in case or spacing, as published; otherwise such a draw is a duplicate.
    """
    words = found.words
    known = {text} if unchanged else {text, found.space.join(words)}
    made: list[str] = []
    for _ in range(count):
        new = list(words)
        replaced: Counter[str] = Counter()
        for choice in found.choices:
            candidate = random.choice(choice.candidates)
            if random.random() < p:
                new[choice.word] = candidate
                replaced[ROUTES[choice.route]] += candidate != words[choice.word]
        joined = found.space.join(new)
        tally.draws += 1
        if joined in known:
            tally.duplicates += 1
            continue
        known.add(joined)
        made.append(joined)
        tally.words += len(words)
        tally.replaced.update(replaced)
    return made
