"""A small vocabulary and small task folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinybert.data.tokenizer import WordPiece

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "b",
    "c",
    "good",
    "bad",
    "film",
    "##s",
    "##ly",
    "the",
    "£",
    "5",
]


@pytest.fixture
def word_pieces() -> WordPiece:
    """Sixteen tokens."""
    return WordPiece(list(WORDS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for data files, next to which a cache can be created."""
    made = tmp_path / "data"
    made.mkdir()
    return made
