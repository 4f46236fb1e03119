"""Candidates for Chinese words: the best dictionary words of the model, in the script of the text."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import SPECIAL, masked_lm_folder
from tinybert.augment.candidates import KEPT, MASKED_LM, VECTORS
from tinybert.augment.chinese_candidates import ChineseCandidates
from tinybert.augment.word_index import WordIndex
from tinybert.augment.word_vectors import WordVectors
from tinybert.data import chinese
from tinybert.models.masked_lm import MaskedLM, load_masked_lm
from tinybert.models.trace import Inputs, Needs, trace

CHARACTERS = "酒店饭馆宾房间服务员早餐午晚电视脑机话头发干净整洁漂亮便宜价格环境位置音乐书本朋友老师学生"
TRADITIONAL = "電視腦機話頭髮發幹乾淨價環樂書師學務員間飯館賓餐書潔"
COUNT = 4
TEXTS = ["酒店房间很整洁", "我喜欢早餐和电脑", "朋友说老师漂亮", "没有2间iPhone"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> MaskedLM:
    folder = tmp_path_factory.mktemp("mlm")
    pieces = [*SPECIAL, *dict.fromkeys(CHARACTERS + TRADITIONAL + "很我喜欢和说没有间"), "iphone", "2", ".", ","]
    masked_lm_folder(folder, pieces, max_position_embeddings=40)
    return load_masked_lm(str(folder))


def logits_of(model: MaskedLM, ids: list[int], segments: list[int]) -> np.ndarray:
    """The head's logits at every position of one row, `[T, V]`."""
    import paddle

    layers = int(model.loaded.config.num_hidden_layers)
    inputs = Inputs(paddle.to_tensor([ids]), paddle.to_tensor([segments]), paddle.ones([1, len(ids)]))
    return model.logits(trace(model.loaded.model, inputs, Needs(hidden=frozenset({layers}))).hidden[layers][0]).numpy()


@pytest.mark.parametrize("masking", [True, False])
def test_candidates_are_the_words_whose_characters_score_highest(model, masking):
    found = ChineseCandidates(model, None, COUNT, masking)
    entries, tag, tokenizer = {}, {}, model.tokenizer
    for word, frequency, part_of_speech in chinese.dictionary():
        tag[word] = part_of_speech[:1]
        if frequency >= 50 and all(character in tokenizer.vocabulary for character in word):
            entries.setdefault((len(word), part_of_speech[:1]), []).append(word)
    compared = 0
    for text, entry in zip(TEXTS[:3], found.of(TEXTS[:3]), strict=True):
        ids = tokenizer.ids([text])[0]
        assert "".join(entry.words) == text and all(choice.route == MASKED_LM for choice in entry.choices)
        for choice in entry.choices:
            word, begin = entry.words[choice.word], len("".join(entry.words[: choice.word])) + 1
            row, segments = [tokenizer.cls_id, *ids, tokenizer.sep_id], [0] * (len(ids) + 2)
            places = list(range(begin, begin + len(word)))
            if masking:
                for place in places:
                    row[place] = tokenizer.mask_id
                row, segments = [*row, *ids, tokenizer.sep_id], [*segments, *[1] * (len(ids) + 1)]
            logits = logits_of(model, row, segments)[places]
            score = {
                other: sum(logits[i, tokenizer.vocabulary.index(character)] for i, character in enumerate(other))
                for other in entries[len(word), tag[word]]
                if other != word and found.lexicon.is_replaceable(other)
            }
            assert choice.candidates == sorted(score, key=score.__getitem__, reverse=True)[:COUNT], word
            compared += 1
    assert compared > 5


def test_numbers_letters_and_function_words_have_no_candidates(model):
    entry = ChineseCandidates(model, None, COUNT).of(["我没有 2间 iPhone，三百元的 电视"])[0]
    assert [entry.words[choice.word] for choice in entry.choices] == ["电视"]


def test_no_candidate_negates_the_word_or_drops_its_negation(tmp_path):
    characters = dict.fromkeys("成功无不易容方便满意错误能可")
    masked_lm_folder(tmp_path / "mlm", [*SPECIAL, *characters], max_position_embeddings=40)
    entry = ChineseCandidates(load_masked_lm(str(tmp_path / "mlm")), None, 50).of(["方便满意，无能不易"])[0]
    for choice in entry.choices:
        denies = entry.words[choice.word][0] in "不无"
        assert choice.candidates and all((name[0] in "不无") == denies for name in choice.candidates if name != entry.words[choice.word])
    assert {entry.words[choice.word] for choice in entry.choices} >= {"方便", "满意"}


def test_traditional_text_gets_traditional_candidates(model):
    found = ChineseCandidates(model, None, 20)
    simplified, traditional = found.of(["电视书和电脑", "電視書和電腦"])
    assert [choice.word for choice in simplified.choices] == [choice.word for choice in traditional.choices]
    names = [name for choice in traditional.choices for name in choice.candidates]
    assert not any(chinese.is_simplified_only(character) for name in names for character in name)
    assert any(chinese.simplified(name) != name for name in names)
    plain = [name for choice in simplified.choices for name in choice.candidates]
    assert all(chinese.simplified(name) == name for name in plain)


def test_words_in_the_table_get_neighbours_in_the_script_of_the_text(model):
    names = ["酒店", "宾馆", "飯館", "饭馆", "的", "hotel", "店", "北京", "酒店房间", "房间"]
    angles = np.arange(len(names)) / 10
    table = WordVectors(WordIndex.of(names), np.stack([np.cos(angles), np.sin(angles)], 1).astype("float32"), {})
    entry = ChineseCandidates(model, table, 3).of(["酒店整洁"])[0]
    by_word = {entry.words[choice.word]: choice for choice in entry.choices}
    assert by_word["酒店"].route == VECTORS and by_word["酒店"].candidates == ["宾馆", "饭馆", "房间"]
    assert by_word["整洁"].route == MASKED_LM


def test_no_neighbour_negates_the_word_or_is_a_name_or_one_character(model):
    names = ["满意", "不满意", "不满", "好", "北京", "可靠", "漂亮", "无知", "不满足"]
    angles = np.arange(len(names)) / 10
    table = WordVectors(WordIndex.of(names), np.stack([np.cos(angles), np.sin(angles)], 1).astype("float32"), {})
    entry = ChineseCandidates(model, table, 8).of(["满意"])[0]
    assert [choice.candidates for choice in entry.choices] == [["可靠"]]


def test_words_beyond_max_positions_are_kept(model):
    text = "酒店" * 30
    entry = ChineseCandidates(model, None, COUNT).of([text])[0]
    routes = [choice.route for choice in entry.choices]
    assert "".join(entry.words) == text and routes == sorted(routes) and {MASKED_LM, KEPT} == set(routes)
