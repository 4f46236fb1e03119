"""Whole words of Chinese text: which tokens continue a word, and how they are masked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import SPECIAL, word_pieces
from tinybert.corpus.documents import TextCorpus
from tinybert.corpus.masked_rows import IGNORED, MaskedRows
from tinybert.corpus.masking import Masking, Pieces
from tinybert.corpus.raw import tokenised
from tinybert.corpus.whole_words import WholeWords

CHARACTERS = "我们喜欢酒店的电视電視劇，。"
PIECES = word_pieces([*SPECIAL, *dict.fromkeys(CHARACTERS), "good", "##s", "1", ".", "5", "##l"])
SIZE = PIECES.vocab_size


@settings(deadline=None, max_examples=50)
@given(st.text(st.sampled_from("我们喜欢酒店電視劇，. goods15l\t")))
def test_whole_word_ids_equal_the_tokenizers_ids(text):
    assert [i % SIZE for i in WholeWords(PIECES).ids([text]).values] == PIECES.ids([text])[0]


def test_word_continuations_follow_jieba_and_the_vocabulary():
    found = WholeWords(PIECES).ids(["我们喜欢酒店的電視劇", "goods 1.5l酒店"])
    goes_on = [(ids >= SIZE).tolist() for ids in np.split(found.values, found.starts[1:])]
    assert goes_on[0] == [False, True, False, True, False, True, False, False, True, True]
    assert goes_on[1] == [False, True, False, False, False, True, False, True]  # "5l" is one token, though jieba separates 1.5 and l


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text("我们喜欢酒店的電視劇。电视的酒店我们喜欢，\n\n" * 30, encoding="utf-8")
    return tokenised(TextCorpus(tmp_path / "text.txt"), PIECES, 24, sequences="lines", whole_words=True)


def test_words_are_masked_whole_and_labels_hold_the_original_ids(rows):
    masked = MaskedRows(rows, Masking(0.3, most=24, whole_word=True), Pieces(PIECES), SIZE, seed=1, epoch=1)
    numbers = np.arange(len(rows))
    ids, labels = masked.tokens_and_labels(numbers)
    stored = rows.tokens(numbers).astype(np.int64)
    chosen = labels != IGNORED
    assert (labels[chosen] == stored[chosen] % SIZE).all() and (ids[~chosen] == stored[~chosen] % SIZE).all()
    assert (ids < SIZE).all() and 0.2 < chosen.mean() < 0.35
    assert (chosen[1:] == chosen[:-1])[stored[1:] >= SIZE].all()  # continuations are masked with their word


def test_masks_differ_between_epochs_and_repeat_on_rereading(rows):
    rule = Masking(0.3, most=24, whole_word=True)
    first, again, other = (MaskedRows(rows, rule, Pieces(PIECES), SIZE, seed=1, epoch=epoch) for epoch in (1, 1, 2))
    numbers = np.array([3, 1, 4])
    assert (first.tokens(numbers) == again.tokens(numbers)).all() and (first.tokens(numbers) != other.tokens(numbers)).any()
