"""A small corpus in which every document has its own vocabulary, so that a row shows where its parts come from."""

from __future__ import annotations

import random
from pathlib import Path

from tinybert.data.tokenizer import WordPiece

WORDS_A_DOCUMENT = 12


def word_pieces(documents: int = 30) -> WordPiece:
    """The vocabulary of `write_corpus`: `d<document>x<word>`, and `##s`, the ending of some of them."""
    words = [f"d{d}x{w}" for d in range(documents) for w in range(WORDS_A_DOCUMENT)]
    return WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "##s", *words])


def write_corpus(path: Path, documents: int = 30, seed: int = 3) -> list[list[str]]:
    """Write documents of 1 to 12 sentences of 2 to 14 words; returns them."""
    draw = random.Random(seed)
    made = []
    for d in range(documents):
        sentences = []
        for _ in range(draw.randint(1, 12)):
            words = [f"d{d}x{draw.randrange(WORDS_A_DOCUMENT)}" + draw.choice(["", "", "s"]) for _ in range(draw.randint(2, 14))]
            sentences.append(" ".join(words) + " .")
        made.append(sentences)
    path.write_text("\n\n".join("\n".join(sentences) for sentences in made) + "\n")
    return made
