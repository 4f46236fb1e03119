"""Byte-level BPE and its like: ids and rows of PaddleNLP's class, both forms of files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from tinybert.data.fast_tokenizer import FastTokenizer, read_tokenizer
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXTS = ["a fine film", "", " Fine  films, 2 of them!", "naïve 电影 🙂", "low\tlower\nlowest", "a < b > c", "it's we'll"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """RoBERTa's two files, made from a few texts."""
    made = ByteLevelBPETokenizer()
    texts = [*TEXTS, *(f"word{i} film fine lower" for i in range(40))]
    made.train_from_iterator(texts, vocab_size=400, min_frequency=1, special_tokens=SPECIAL, show_progress=False)
    made.save_model(str(tmp_path))
    return tmp_path


def rows_of(tokenizer, texts, pairs=None, length=64) -> list[list[int]]:
    flat, _, _ = tokenizer.rows(texts, pairs, length)
    return [ids.tolist() for ids in np.split(flat.values, np.cumsum(flat.lengths)[:-1])]


@pytest.mark.parametrize("pairs", [None, TEXTS[::-1]], ids=["texts", "pairs"])
def test_rows_are_those_of_paddlenlps_class(folder, pairs):
    from paddlenlp.transformers import RobertaBPETokenizer

    theirs = RobertaBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    expected = [theirs(text, None if pairs is None else pairs[i])["input_ids"] for i, text in enumerate(TEXTS)]
    tokenizer = read_tokenizer(folder)
    assert rows_of(tokenizer, TEXTS, pairs) == expected
    assert (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unk_id) == (0, 1, 2, 3)
    assert tokenizer.vocab_size == len(json.loads((folder / "vocab.json").read_text()))


def test_special_tokens_in_a_text_are_matched_as_in_transformers(folder):
    # PaddleNLP's class splits them like other text
    tokenizer = read_tokenizer(folder)
    (ids,) = rows_of(tokenizer, ["fine <mask></s>"])
    assert ids[-3:] == [4, 2, 2]


def test_tokenizer_json_gives_the_same_rows_and_follows_the_prefix_space(folder, tmp_path):
    plain = read_tokenizer(folder)
    other = tmp_path / "json"
    other.mkdir()
    plain._rust.save(str(other / "tokenizer.json"))
    assert rows_of(read_tokenizer(other), TEXTS, TEXTS[::-1]) == rows_of(plain, TEXTS, TEXTS[::-1])
    for where in (folder, other):
        (where / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": True, "tokenizer_class": "RobertaTokenizerFast"}))
    spaced = [read_tokenizer(where) for where in (folder, other)]
    assert (
        rows_of(spaced[0], TEXTS) == rows_of(spaced[1], TEXTS) == rows_of(plain, [f" {text.lstrip(' ')}" if text else "" for text in TEXTS])
    )
    assert spaced[0].fingerprint != plain.fingerprint


def test_long_rows_are_cut_from_the_longer_text_and_counted(folder):
    tokenizer = read_tokenizer(folder)
    long, short = " film" * 30, " film"
    flat, first, cut = tokenizer.rows([long, short], None, 10)
    assert flat.lengths.tolist() == first.tolist() == [10, 3] and cut == 1
    flat, _, cut = tokenizer.rows([long, short], [short, short], 10)
    assert flat.lengths.tolist() == [10, 6] and cut == 1
    assert tokenizer.rows([long], None, 64)[2] == 0  # a limit is not kept


def test_saved_files_give_the_same_tokenizer(folder, tmp_path):
    (folder / "added_tokens.json").write_text(json.dumps({"<user>": read_tokenizer(folder).vocab_size}))
    tokenizer = read_tokenizer(folder)
    tokenizer.save(tmp_path / "saved")
    again = read_tokenizer(tmp_path / "saved")
    assert again.fingerprint == tokenizer.fingerprint and again.vocab_size == tokenizer.vocab_size
    assert tokenizer.vocab_size - 1 in rows_of(again, ["a <user> film"])[0]


def test_lone_surrogates_are_left_out(folder):
    tokenizer = read_tokenizer(folder)
    assert rows_of(tokenizer, ["fine \ud83d film"]) == rows_of(tokenizer, ["fine  film"])


def test_word_pieces_are_read_as_before(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fine", "film"]) + "\n")
    assert isinstance(read_tokenizer(tmp_path), WordPiece)
    flat, first, cut = read_tokenizer(tmp_path).rows(["fine film"], ["film"], 6)
    assert (flat.values.tolist(), first.tolist(), cut) == ([2, 4, 5, 3, 5, 3], [4], 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokenizer_config.json": {"tokenizer_class": "RoFormerTokenizer"}}, "names tokenizer_class RoFormerTokenizer, which is not supp"),
        ({"tokenizer_config.json": {"auto_map": {"AutoTokenizer": "x.Y"}}}, r"names custom code \(auto_map\)"),
        ({"tokenizer_config.json": {"cls_token": "[CLS]"}}, r"vocab.json (lacks \[CLS\]|does not say which special tokens)"),
        ({"added_tokens.json": {"<user>": 9999}}, "the added token '<user>' has the id 9999"),
        ({"vocab.json": {"a": 0}}, "vocab.json (cannot be read by the library tokenizers|does not say)"),
    ],
)
def test_incomplete_or_foreign_files_are_refused(folder, change, words):
    for name, content in change.items():
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        read_tokenizer(folder)


def test_tokenizer_json_without_special_tokens_is_refused(folder):
    rust = Tokenizer.from_str(read_tokenizer(folder)._rust.to_str())
    content = json.loads(rust.to_str())
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="does not say which special tokens surround a text"):
        FastTokenizer.from_folder(folder)
