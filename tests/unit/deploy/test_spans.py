"""Words of plain text, and entities and answers with their characters."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import word_pieces
from tinybert.deploy.spans import encode_words, entities, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("John lives in New York.", ["John", "lives", "in", "New", "York", "."]),
        ("U.S. don't, (3.5 %)", ["U.S", ".", "don't", ",", "(", "3.5", "%", ")"]),
        ("我在北京iPhone店", ["我", "在", "北", "京", "iPhone", "店"]),
        ("  \t", []),
    ],
)
def test_plain_text_is_split_like_tagged_files(text, words):
    assert [text[begin:end] for begin, end in words_of(text)] == words


def test_entities_have_type_characters_and_the_smallest_probability():
    labels = ("O", "B-LOC", "I-LOC")
    texts = ["word1  word2 word3, word4", "", "word5"]
    store, cut = encode_words(texts, word_pieces(), 16)
    told = [(1, 0.9), (2, 0.7), (0, 0.9), (0, 0.9), (2, 0.6), (0, 0.8)]
    shares = np.array([[share if at == tag else (1 - share) / 2 for at in range(3)] for tag, share in told])
    found = entities(texts, store, shares, labels)
    assert cut == 0 and found[1:] == [(), ()]
    assert [(span.text, span.begin, span.end, span.label, span.score) for span in found[0]] == [
        ("word1  word2", 0, 12, "LOC", pytest.approx(0.7)),
        ("word4", 20, 25, "LOC", pytest.approx(0.6)),  # without a beginning, as conlleval counts
    ]


def test_words_beyond_the_maximum_length_have_no_entity():
    store, cut = encode_words(["word1 word2 word3"], word_pieces(), 4)
    found = entities(["word1 word2 word3"], store, np.array([[0.0, 1.0], [0.0, 1.0]]), ("O", "B-LOC"))
    assert cut == 1 and [span.text for span in found[0]] == ["word1", "word2"]
