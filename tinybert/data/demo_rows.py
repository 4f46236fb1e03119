"""The rows of the demo: few labelled ones, many without labels."""

from __future__ import annotations

import random

import yaml

from tinybert.data.places import demo_folder

_FRAMES = (
    "{a} {x}.",
    "{a} {x} and {y}.",
    "{a} {x}, and {b} {y}.",
    "{a} {x}, but {b} {y}.",
    "{opening}, {a} {x}.",
    "{opening}, {a} {x}, though {b} {y}.",
    "I must say that {a} {x}.",
)
_OPENINGS = (
    "honestly", "to our surprise", "as always", "in short", "this time", "once again", "last summer", "on our second visit",
    "after all that praise", "for that price", "despite the reviews", "from the first day", "to be fair", "as my sister warned me",
)  # fmt: skip


def unlabelled_sentences(count: int, seed: int) -> list[str]:
    """`count` different sentences, assembled from `phrases.yaml`."""
    domains = list(yaml.safe_load((demo_folder() / "phrases.yaml").read_text(encoding="utf-8")).values())
    random_ = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        domain = random_.choice(domains)
        (a, b), (x, y) = random_.sample(domain["of"], 2), random_.sample(domain["said"], 2)
        text = random_.choice(_FRAMES).format(a=a, b=b, x=x, y=y, opening=random_.choice(_OPENINGS))
        found[text[0].upper() + text[1:]] = None
    return list(found)
