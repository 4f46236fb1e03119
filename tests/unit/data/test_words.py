"""The word table gives the tokenizer's ids for any text, even when its memory is full."""

import itertools
import random

import numpy as np

from tinybert.data import words as module
from tinybert.data.tokenizer import WordPiece
from tinybert.data.words import WordTable

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij.,!?'-", *(f"##{c}" for c in "abcdefghij"), "中", "文", "é", "e"]
PARTS = [
    *"abcdefghij",
    *" \t\n\r\x1c\x85\xa0\u2003\u3000",
    *".,!?'-£€",
    *"中文éÉe\u0301ß\u200d\ufffd\0",
    "[SEP]",
    " [MASK] ",
    "[CLS]",
    "  ",
]


def assert_same(tokenizer, table, texts):
    expected, found = tokenizer.ids(texts), table.ids(texts)
    assert found.lengths.tolist() == [len(ids) for ids in expected]
    assert found.values.tolist() == [i for ids in expected for i in ids]


def test_word_table_gives_the_tokenizers_ids_for_any_text():
    for lower in (True, False):
        tokenizer, draw = WordPiece(PIECES, do_lower_case=lower), random.Random(5)
        table = WordTable(tokenizer)
        for _ in range(100):
            assert_same(tokenizer, table, ["".join(draw.choices(PARTS, k=draw.randrange(40))) for _ in range(20)])


def test_full_word_table_restarts_with_the_same_ids(monkeypatch):
    monkeypatch.setattr(module, "MAX_WORDS", 50)
    tokenizer, draw = WordPiece(PIECES), random.Random(6)
    table = WordTable(tokenizer)
    for _ in range(20):
        assert_same(tokenizer, table, [" ".join("".join(draw.choices("abcdefghij", k=4)) for _ in range(20))])
        assert len(table._words) <= 70


def test_word_table_gives_the_tokenizers_ids_for_real_text(real_data):
    tokenizer = WordPiece((real_data / "vocab/bert-base-uncased-vocab.txt").read_text().split("\n")[:-1])
    for name in ("enwiki", "zhwiki"):
        with open(real_data / f"corpus/{name}.txt", encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in itertools.islice(file, 400)]
        assert_same(tokenizer, WordTable(tokenizer), lines)


def test_empty_input_gives_empty_ids():
    found = WordTable(WordPiece(PIECES)).ids([])
    assert not len(found.values) and found.lengths.dtype == np.int64
