"""Raw text becomes rows that hold every token once, for any number of processes."""

import numpy as np
import pytest

from tests.unit.corpus.text import word_pieces, write_corpus
from tinybert.corpus import documents
from tinybert.corpus.documents import TextCorpus
from tinybert.corpus.raw import tokenised
from tinybert.errors import UserError

LENGTH = 32


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    write_corpus(tmp_path / "text")
    return TextCorpus(tmp_path / "text")


def inner(store):
    """The ids of all rows without [CLS] and [SEP]."""
    return [i for row in range(len(store)) for i in store.row(row)[1:-1].tolist()]


def test_packed_rows_hold_the_whole_corpus_one_document_per_row(corpus):
    tokenizer = word_pieces()
    store = tokenised(corpus, tokenizer, LENGTH)
    expected = tokenizer.ids([sentence for document in corpus.documents() for sentence in document])
    assert inner(store) == [i for ids in expected for i in ids]
    assert store.lengths.max() <= LENGTH and (store.first == store.lengths).all()
    for row in range(len(store)):
        words = [tokenizer.vocabulary[i] for i in store.row(row) if tokenizer.vocabulary[i].startswith("d")]
        assert len({word.split("x")[0] for word in words}) == 1
    sentences = sum(len(document) for document in corpus.documents())
    assert len(store) < 0.6 * sentences and store.lengths.mean() > 0.7 * LENGTH  # actually packed


def test_lines_mode_gives_one_truncated_row_per_line(corpus):
    tokenizer = word_pieces()
    store = tokenised(corpus, tokenizer, 10, sequences="lines")
    lines = tokenizer.ids([sentence for document in corpus.documents() for sentence in document])
    assert [store.row(i)[1:-1].tolist() for i in range(len(store))] == [ids[:8] for ids in lines]


def test_rows_do_not_depend_on_the_number_of_processes(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK_CHARACTERS", 500)
    stores = []
    for processes in (1, 2):
        monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / f"cache{processes}"))
        stores.append(tokenised(corpus, word_pieces(), LENGTH, processes=processes))
    for name in ("ids", "offsets", "first"):
        np.testing.assert_array_equal(getattr(stores[0], name), getattr(stores[1], name))


def test_text_without_a_known_word_piece_is_refused(tmp_path):
    (tmp_path / "text").write_text("\u200b\n\u200b\n")
    with pytest.raises(UserError, match="no word that is in the vocabulary"):
        tokenised(TextCorpus(tmp_path / "text"), word_pieces(), LENGTH)
    assert not list((tmp_path / "cache" / "tokens").glob("[!.]*[!k]"))
