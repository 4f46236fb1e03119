"""Looking up words in memory and on disk, and headers of word-vector files."""

from __future__ import annotations

from tinybert.augment import word_index
from tinybert.augment.word_index import WordIndex
from tinybert.augment.word_vectors import open_word_vectors

WORDS = ["the", "酒店", "", "the", "é", *(f"w{i}" for i in range(500))]


def test_first_row_of_a_word_is_found_in_memory_and_on_disk(tmp_path):
    WordIndex.write(tmp_path, iter([[word.encode() for word in WORDS[:2]], [word.encode() for word in WORDS[2:]]]))
    for index in (WordIndex.of(WORDS), WordIndex.map(tmp_path)):
        assert [index[row] for row in range(len(index))] == WORDS
        assert [index.row(word) for word in WORDS] == [WORDS.index(word) for word in WORDS]
        assert index.row("absent") is None


def test_words_with_equal_hashes_are_distinguished(monkeypatch):
    monkeypatch.setattr(word_index, "_hash", lambda word: 7)
    index = WordIndex.of(WORDS[:5])
    assert [index.row(word) for word in ("é", "酒店", "w1")] == [4, 1, None]


def test_header_line_of_fasttext_and_tencent_files_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "with.txt").write_text("3 2\n酒店 1 0 \n宾馆 0.9 0.1 \n2 0 1 \n")
    (tmp_path / "without.txt").write_text("酒店 1 0\n宾馆 0.9 0.1\n2 0 1\n")
    for name in ("with", "without"):
        table = open_word_vectors(tmp_path / f"{name}.txt")
        assert len(table.words) == 3 and table.vectors.shape == (3, 2)
        assert [table.words[int(row)] for row in table.neighbours([0], 1)[0]] == ["宾馆"]
