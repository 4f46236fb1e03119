"""Candidates: which row and position of the model each word is predicted from."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import SPECIAL, masked_lm_folder
from tinybert.augment.candidates import MASKED_LM, Candidates
from tinybert.augment.word_index import WordIndex
from tinybert.augment.word_vectors import WordVectors
from tinybert.models.masked_lm import MaskedLM, load_masked_lm
from tinybert.models.trace import Inputs, Needs, trace

WORDS = ["kale", "lamp", "moon", "nest", "pear", "rice"]
TEXTS = ["kale lamp moon", "nest kale", "pear rice nest", "the", "moon lamp"]  # of two lengths, and one without a replaceable word
COUNT = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> MaskedLM:
    folder = tmp_path_factory.mktemp("mlm")
    masked_lm_folder(folder, [*SPECIAL, *WORDS, "the"])
    return load_masked_lm(str(folder))


def candidates(model: MaskedLM, masking: bool) -> Candidates:
    table = WordVectors(WordIndex.of(["<unk>"]), np.zeros((1, 2), np.float32), {})
    return Candidates(model, table, COUNT, words_only=False, masking=masking)


def best_of(model: MaskedLM, ids: list[int], segments: list[int], at: int) -> list[int]:
    """The best tokens at one position, from the complete last layer and the sorted whole vocabulary."""
    import paddle

    layers = int(model.loaded.config.num_hidden_layers)
    inputs = Inputs(paddle.to_tensor([ids]), paddle.to_tensor([segments]), paddle.ones([1, len(ids)]))
    hidden = trace(model.loaded.model, inputs, Needs(hidden=frozenset({layers}))).hidden[layers]
    return np.argsort(-model.logits(hidden[0]).numpy()[at])[:COUNT].tolist()


@pytest.mark.parametrize("masking", [True, False])
def test_candidates_are_the_best_pieces_at_the_words_own_position(model, masking):
    found = candidates(model, masking).find(TEXTS)
    assert (found[:, 2] == MASKED_LM).all() and len(found) == sum(len(text.split()) for text in TEXTS) - 1
    tokenizer = model.tokenizer
    for number, word, _, *best in found.tolist():
        ids = tokenizer.ids([TEXTS[number]])[0]
        row = [tokenizer.cls_id, *ids, tokenizer.sep_id]
        segments = [0] * len(row)
        if masking:
            row[1 + word] = tokenizer.mask_id
            row, segments = [*row, *ids, tokenizer.sep_id], [*segments, *[1] * (len(ids) + 1)]
        assert best == best_of(model, row, segments, 1 + word), (TEXTS[number], word)


def test_candidates_do_not_depend_on_the_chunk_size(model, monkeypatch):
    whole = candidates(model, masking=False).find(TEXTS)
    monkeypatch.setattr("tinybert.models.masked_lm._POSITIONS", 2)
    assert (candidates(model, masking=False).find(TEXTS) == whole).all()
