"""Every document is read once, in order and in bounded pieces; files that are not text are refused first."""

import contextlib
import gzip

import pytest

from tinybert.corpus import documents as module
from tinybert.corpus.documents import TextCorpus, check_output_outside
from tinybert.corpus.sentences import are_paragraphs, split_sentences
from tinybert.errors import UserError

TWO = "One fish.\nTwo fish.\n\n  \nRed fish.\n"


def texts(corpus):
    return list(corpus.documents())


def test_blank_lines_and_ends_of_files_end_documents(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + TWO.encode())
    (tmp_path / "b/c.gz").write_bytes(gzip.compress(b"Blue fish.\r\n\r\nOld fish."))
    (tmp_path / ".hidden").write_bytes(b"\0\0")
    expected = [["One fish.", "Two fish."], ["Red fish."], ["Blue fish."], ["Old fish."]]
    assert texts(TextCorpus(tmp_path)) == expected
    assert texts(TextCorpus(str(tmp_path / "**/*.gz"))) == expected[2:]
    assert texts(TextCorpus(tmp_path / "a.txt")) == expected[:2]


def test_chunks_hold_all_documents_in_order_and_bounded_pieces(tmp_path):
    lines = [f"{'word ' * 20}{i}" for i in range(500)]
    (tmp_path / "text").write_text("\n\n".join(lines))
    corpus = TextCorpus(tmp_path / "text")
    chunks = list(corpus.chunks(1000))
    assert [line for chunk in chunks for document in chunk.documents for line in document] == lines
    assert len(chunks) > 40 and max(len(chunk.documents) for chunk in chunks) <= 10
    read = [chunk.bytes_read for chunk in chunks]
    assert read == sorted(read) and read[-1] == corpus.bytes


def test_file_without_blank_lines_is_split_into_bounded_documents(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_DOCUMENT", 100)
    (tmp_path / "text").write_text("ten letters\n" * 100)
    found = texts(TextCorpus(tmp_path / "text"))
    assert sum(map(len, found)) == 100 and max(map(len, found)) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "contains no text"),
        (b"\n \n\t\n", "contains no text"),
        (b"text\0more", "is a binary file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a binary file"),
        (b"BZh91AY", "found compressed with bzip2, expected UTF-8 text"),
        (b"%PDF-1.7 text", "found a PDF document"),
        (gzip.compress(b"some text\n" * 1000, mtime=0)[:-20], "cannot be read|damaged gzip"),
        (gzip.compress(b"binary \0", mtime=0), "is a binary file"),
        (b"fine\nnot \xe9t\xe9\n", "line 2: found the byte 0xe9"),
    ],
)
def test_files_that_are_not_text_are_refused(tmp_path, content, message):
    (tmp_path / "corpus").write_bytes(content)
    with pytest.raises(UserError, match=message):
        texts(TextCorpus(tmp_path / "corpus"))


def test_missing_or_empty_paths_are_refused(tmp_path):
    for path, message in (
        (tmp_path, "the folder contains no files"),
        (tmp_path / "no", "no such file"),
        (tmp_path / "*.txt", "no file matches"),
    ):
        with pytest.raises(UserError, match=message):
            TextCorpus(path)


@pytest.mark.parametrize(
    ("pattern", "inside"),
    [("**/*", True), ("*/*", True), ("**/*.txt", True), ("out/*.txt", True), ("*.txt", False), ("other/**", False), ("out/text/*", False)],
)
def test_pattern_that_matches_the_output_folder_is_refused(tmp_path, pattern, inside):
    refused = pytest.raises(UserError, match="may also match files in --output_dir") if inside else contextlib.nullcontext()
    with refused:
        check_output_outside(str(tmp_path / pattern), tmp_path / "out", "--train_corpus")


def test_single_document_is_refused_where_pairs_need_two(tmp_path):
    (tmp_path / "one").write_text("a\nb\n\n\n")
    with pytest.raises(UserError, match="only one document"):
        TextCorpus(tmp_path / "one").check_documents()
    (tmp_path / "two").write_text("a\nb\n\nc")
    TextCorpus(tmp_path / "two").check_documents()
    TextCorpus(tmp_path).check_documents()  # two files


@pytest.mark.parametrize(
    "sentences",
    [
        ["It ends.", "So does this!", "And this?", "“Quoted.”", "(In brackets.)", "12 more."],
        ["J. R. Smith met Dr. Brown in the U.S. Army.", "They e.g. Talked."],
        ["a version 3.5 of it, etc. and more."],
        ["他来了。", "她也来了！", "真的吗？", "「是的。」", "好。"],
        ["他说房间很好！！！", "真的吗？！」", "好。。。"],
    ],
)
def test_sentences_are_split_at_their_ends(sentences):
    joint = "" if sentences[0][0] == "他" else " "
    assert split_sentences(joint.join(sentences)) == sentences


def test_splitting_into_sentences_loses_no_text():
    text = "A b. C!  d? E... F.) G \u2026 H.I. \u3002\u3002 x . Y ? ! Z"
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_paragraphs_are_distinguished_from_single_sentence_lines():
    assert not are_paragraphs(["One sentence here.", "Another, by Dr. Who."])
    assert are_paragraphs(["One here. Two here.", "Three. Four. Five."])
