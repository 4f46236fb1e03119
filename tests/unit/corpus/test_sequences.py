"""Rows are drawn as in the paper, and masking changes only what it reports."""

import numpy as np
import pytest

from tinybert.corpus.masking import Masking, Pieces, by_row, mask
from tinybert.corpus.sequences import SequenceOptions, rows_of, spans
from tinybert.corpus.tokens import CorpusTokens
from tinybert.data.layout import Flat
from tinybert.data.tokenizer import WordPiece

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *(f"w{i}" for i in range(500)), *(f"##p{i}" for i in range(500))]


def corpus_of(documents):
    """Documents of sentences with these numbers of tokens; every token of the corpus has a unique id (below 1000)."""
    sentences = [length for document in documents for length in document]
    ids = 6 + np.arange(sum(sentences)) % 1000
    bounds = np.concatenate([[0], np.cumsum(sentences)])
    return CorpusTokens(ids.astype(np.uint16), bounds, np.concatenate([[0], np.cumsum([len(document) for document in documents])]))


def test_random_next_documents_are_drawn_by_sentence_count_never_the_same():
    corpus = corpus_of([[5] * 2, [5] * 6, [5] * 12, [5]])
    counts = np.zeros(4)
    for seed in range(1500):
        drawn = spans(corpus, 0, 1, SequenceOptions("pairs", 40, 0.0), seed, 0)
        begins = drawn.second_begin[drawn.random_next]
        sentence = np.searchsorted(corpus.sentences, begins, "right") - 1
        for document in np.searchsorted(corpus.documents, sentence, "right") - 1:
            counts[document] += 1
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / counts.sum(), np.array([6, 12, 1]) / 19, atol=0.04)


def test_sentences_longer_than_a_row_are_truncated_at_both_ends():
    corpus = corpus_of([[200], [200]])
    fronts = [int(spans(corpus, 0, 1, SequenceOptions("pairs", 43, 0.0), seed, 0).first_begin[0]) for seed in range(300)]
    lengths = spans(corpus, 0, 1, SequenceOptions("pairs", 43, 0.0), 1, 0)
    assert lengths.first_length[0] == lengths.second_length[0] == 20
    assert 80 < np.mean(fronts) < 100 and min(fronts) > 55 and max(fronts) < 125  # 180 tokens are removed, half of them at the front


def test_short_targets_appear_only_with_the_requested_probability():
    corpus = corpus_of([[3] * 400, [3] * 400])
    lengths = spans(corpus, 0, 2, SequenceOptions("packed", 32, 0.0), 1, 0).first_length
    assert (lengths[:-1] == 30).sum() >= len(lengths) - 2
    short = spans(corpus, 0, 2, SequenceOptions("packed", 32, 0.5), 1, 0).first_length
    assert 0.3 < (short < 30).mean() < 0.7


def test_epochs_and_seeds_change_the_rows_and_equal_ones_repeat_them():
    corpus = corpus_of([[4] * 50, [7] * 50, [3] * 60])

    def rows(seed, epoch):
        return spans(corpus, 0, 3, SequenceOptions("pairs", 32, 0.1), seed, epoch).first_begin.tolist()

    assert rows(1, 0) == rows(1, 0)
    assert len({tuple(rows(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


@pytest.fixture
def tokenizer():
    return WordPiece(list(PIECES))


@pytest.fixture
def made(tokenizer):
    corpus = corpus_of([[9] * 20, [11] * 20])
    drawn = spans(corpus, 0, 2, SequenceOptions("pairs", 64, 0.0), 5, 0)
    return rows_of(corpus, drawn, tokenizer, 64)


def test_empty_second_segment_becomes_a_full_stop(tokenizer):
    corpus = corpus_of([[6], [100]])
    drawn = spans(corpus, 0, 2, SequenceOptions("pairs", 20, 0.0, random_next=False), 5, 0)
    rows, first = rows_of(corpus, drawn, tokenizer, 20)
    assert rows.lengths.tolist() == [10, 20] and first.tolist() == [8, 18]
    assert rows.values[rows.starts + first].tolist() == [tokenizer.ids(["."])[0][0]] * 2


@pytest.mark.parametrize("whole_word", [False, True])
def test_masking_changes_only_the_positions_it_reports(tokenizer, made, whole_word):
    rows, _ = made
    rows.values[rows.starts + 4] = tokenizer.sep_id  # "[SEP]" in the text itself
    before = rows.values.copy()
    rule = Masking(0.3, 15, whole_word)
    changed = Flat(rows.values.copy(), rows.lengths)
    masked = mask(changed, rule, Pieces(tokenizer), np.random.RandomState(1))
    untouched = np.ones(len(before), bool)
    untouched[masked.places] = False
    np.testing.assert_array_equal(changed.values[untouched], before[untouched])
    np.testing.assert_array_equal(before[masked.places], masked.labels)
    assert not np.isin(masked.labels, [tokenizer.cls_id, tokenizer.sep_id]).any()
    for (places, labels), start, length in zip(by_row(masked, rows), rows.starts, rows.lengths, strict=True):
        assert len(places) <= min(15, round(length * 0.3)) and before[start + np.array(places, int)].tolist() == labels


def test_probability_zero_masks_nothing_unless_always_is_set(tokenizer, made):
    assert not Masking(0.0).active and Masking(0.0, always=True).active and not Masking(0.5, most=0).active
    rows, first = made
    masked = mask(rows, Masking(0.0, always=True), Pieces(tokenizer), np.random.RandomState(1))
    assert len(masked.places) == len(first)
