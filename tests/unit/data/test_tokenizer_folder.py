"""Tokenizer files of a folder are followed or refused: classes, added tokens, tokenizer.json, flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, BertWordPieceTokenizer, Tokenizer, models

from tests.unit.data.conftest import WORDS
from tinybert.data.tokenizer import WordPiece
from tinybert.data.tokenizer_folder import check_tokenizer, has_vocabulary
from tinybert.errors import UserError

SIZE = len(WORDS)


def write(folder: Path, words=WORDS, **files) -> Path:
    """A folder with a vocabulary and JSON files, `tokenizer_config={...}`."""
    folder.mkdir(parents=True, exist_ok=True)
    if words is not None:
        (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def rust(folder: Path, words=WORDS, **settings) -> Tokenizer:
    """The same tokens in the library's own file, as saved by transformers 5."""
    made = BertWordPieceTokenizer({word: i for i, word in enumerate(words)}, **settings)
    made.save(str(folder / "tokenizer.json"))
    return made


# === Classes ===


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("BertJapaneseTokenizer", "splits Japanese text into words with MeCab"),
        ("KoBertTokenizer", "SentencePiece"),
        ("ErnieTinyTokenizer", "SentencePiece"),
        ("AlbertTokenizerFast", "SentencePiece"),
        ("RoFormerTokenizer", "jieba"),
        ("GPT2TokenizerFast", "bytes with BPE"),
        ("MyOwnTokenizer", 'unknown.\nIf .* write "tokenizer_class": "BertTokenizer"'),
    ],
)
@pytest.mark.parametrize("file", ["tokenizer_config", "config"])
def test_tokenizer_of_another_class_is_refused_by_name(tmp_path, named, reason, file):
    write(tmp_path, **{file: {"tokenizer_class": named}})
    for read in (WordPiece.from_folder, check_tokenizer):
        with pytest.raises(UserError, match=f"{file}.json: tokenizer_class is {named}, which .*{reason}"):
            read(tmp_path)


@pytest.mark.parametrize("named", ["BertTokenizer", "BertTokenizerFast", "ErnieTokenizer", "TokenizersBackend", "PreTrainedTokenizerFast"])
def test_word_piece_tokenizer_classes_are_accepted(tmp_path, named):
    assert WordPiece.from_folder(write(tmp_path, tokenizer_config={"tokenizer_class": named})).vocab_size == SIZE


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"word_tokenizer_type": "mecab"}, "'word_tokenizer_type' is 'mecab'"),
        ({"subword_tokenizer_type": "character"}, "'subword_tokenizer_type' is 'character'"),
        ({"do_basic_tokenize": False}, "'do_basic_tokenize' is false"),
        ({"never_split": ["good"]}, "'never_split' keeps words whole"),
        ({"auto_map": {"AutoTokenizer": ["t.T", None]}}, "custom tokenizer code"),
        ({"do_lower_case": "no"}, "'do_lower_case' is 'no'; expected true, false or null"),
        ({"strip_accents": 1}, "'strip_accents' is 1"),
        ({"model_max_length": "512"}, "'model_max_length' is '512'"),
        ({"model_max_length": 0}, "'model_max_length' is 0"),
        ({"pad_token": ["[PAD]"]}, "a special token is"),
    ],
)
def test_unsupported_tokenizer_setting_is_refused(tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        WordPiece.from_folder(write(tmp_path, tokenizer_config=config))


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer_78b3253a26.model", "dict.wordseg.pickle", "merges.txt"])
def test_files_of_another_tokenizer_beside_a_vocabulary_are_refused(tmp_path, name):
    (write(tmp_path) / name).write_bytes(b"x")
    with pytest.raises(UserError, match="SentencePiece tokenizer|byte-level BPE"):
        WordPiece.from_folder(tmp_path)


@pytest.mark.parametrize(("sign", "kind"), [("\u2581", "SentencePiece"), ("\u0120", "byte-level BPE")])
def test_vocabulary_of_another_tokenizer_is_recognised_by_its_markers(tmp_path, sign, kind):
    words = [*WORDS, *(f"{sign}word{i}" for i in range(60))]
    with pytest.raises(UserError, match=f"is a vocabulary of {kind}: 60 of {len(words)} pieces"):
        WordPiece.from_folder(write(tmp_path, words))


def test_vocabulary_with_a_column_of_ids_is_refused(tmp_path):
    with pytest.raises(UserError, match="second column of numbers"):
        WordPiece.from_folder(write(tmp_path, [f"{word}\t{i}" for i, word in enumerate(WORDS)]))


def test_booleans_written_as_text_are_read(tmp_path):
    write(tmp_path, tokenizer_config={"do_lower_case": "false", "strip_accents": "True", "tokenize_chinese_chars": "False"})
    read = WordPiece.from_folder(tmp_path)
    assert (read.do_lower_case, read.strip_accents, read.tokenize_chinese_chars) == (False, True, False)


def test_special_tokens_map_is_used_where_the_config_is_silent(tmp_path):
    words = [{"[PAD]": "<pad>", "[CLS]": "<s>"}.get(word, word) for word in WORDS]
    write(tmp_path, words, special_tokens_map={"pad_token": "<pad>", "cls_token": {"content": "<s>"}})
    assert WordPiece.from_folder(tmp_path).special["cls"] == "<s>"


# === Added tokens ===


def library(folder: Path, lower: bool = True) -> list:
    """The library's own tokenizer with two added tokens, and the same tokens in the files that it saves next to a vocabulary."""
    made = BertWordPieceTokenizer({word: i for i, word in enumerate(WORDS)}, lowercase=lower)
    made.add_special_tokens([AddedToken("<user>", special=True, normalized=False)])
    made.add_tokens([AddedToken("Covid-19", normalized=True)])
    decoder = {
        str(SIZE): {"content": "<user>", "special": True, "normalized": False, "single_word": False},
        str(SIZE + 1): {"content": "Covid-19", "special": False, "normalized": True, "single_word": False},
    }
    write(
        folder / "added", added_tokens={"<user>": SIZE, "Covid-19": SIZE + 1}, special_tokens_map={"additional_special_tokens": ["<user>"]}
    )
    write(folder / "decoder", tokenizer_config={"added_tokens_decoder": decoder, "do_lower_case": lower})
    (folder / "rust").mkdir()
    made.save(str(folder / "rust" / "tokenizer.json"))
    return [made, *(folder / name for name in ("added", "decoder", "rust"))]


TEXTS = ["good <user>bad", "<USER> good", "covid-19 good", "a COVID-19, bad", "good<user><user>", "", "<user>", "good bad"]


def test_added_tokens_get_the_ids_of_the_tokenizers_library(tmp_path):
    made, *folders = library(tmp_path)
    expected = [made.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert expected[0] == [WORDS.index("good"), SIZE, WORDS.index("bad")]
    for folder in folders:
        read = WordPiece.from_folder(folder)
        assert read.vocab_size == SIZE + 2
        assert read.ids(TEXTS) == expected, folder.name
        assert read.words("good <user>bad") == ["good", "<user>", "bad"]


def test_added_tokens_survive_saving(tmp_path):
    _, *folders = library(tmp_path)
    for folder in folders:
        read = WordPiece.from_folder(folder)
        read.save(tmp_path / "again")
        again = WordPiece.from_folder(tmp_path / "again")
        assert again.fingerprint == read.fingerprint != WordPiece(list(WORDS)).fingerprint
        assert json.loads((tmp_path / "again" / "added_tokens.json").read_text()) == {"<user>": SIZE, "Covid-19": SIZE + 1}
        assert (tmp_path / "again" / "vocab.txt").read_text().split() == list(WORDS)


def test_paddlenlp_reads_saved_added_tokens(tmp_path):
    transformers = pytest.importorskip("paddlenlp.transformers", reason="PaddleNLP is not installed")
    _, folder, *_ = library(tmp_path)
    read = WordPiece.from_folder(folder)
    read.save(tmp_path / "again")
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "again"))
    text = "good <user> bad"
    assert theirs(text, add_special_tokens=False)["input_ids"] == read.ids([text])[0]


@pytest.mark.parametrize("added", [{"<user>": SIZE + 1}, {"<user>": 3}, {"<user>": "x"}, {"<user>": -1}, {"<user>": float("inf")}])
def test_added_token_without_its_own_id_is_refused(tmp_path, added):
    with pytest.raises(UserError, match="an? added token|the added token '<user>' has the id"):
        WordPiece.from_folder(write(tmp_path, added_tokens=added))


def test_token_with_an_invalid_character_is_refused(tmp_path):
    with pytest.raises(UserError, match="which is not a character"):
        WordPiece.from_folder(write(tmp_path, added_tokens={"\ud800": SIZE}))


# === tokenizer.json ===


@pytest.mark.parametrize("settings", [{}, {"lowercase": False}, {"strip_accents": False}, {"handle_chinese_chars": False}])
def test_transformers_5_folder_gives_the_ids_of_the_library(tmp_path, settings):
    made = rust(tmp_path, **settings)
    assert has_vocabulary(tmp_path)
    read = WordPiece.from_folder(tmp_path)
    for text in ("Good bad, good!", "a \u00e9t\u00e9 film", "\u4e2d\u6587 good", "unheardofword"):
        assert read.ids([text])[0] == made.encode(text, add_special_tokens=False).ids, text
    assert read.vocabulary == list(WORDS)


def test_tokenizer_config_overrides_tokenizer_json(tmp_path):
    rust(tmp_path, lowercase=True)
    write(tmp_path, None, tokenizer_config={"do_lower_case": False, "tokenizer_class": "TokenizersBackend"})
    assert not WordPiece.from_folder(tmp_path).do_lower_case


def test_two_different_vocabularies_are_refused(tmp_path):
    rust(tmp_path)
    assert WordPiece.from_folder(write(tmp_path)).vocab_size == SIZE
    write(tmp_path, [*WORDS[:-2], WORDS[-1], WORDS[-2]])
    with pytest.raises(UserError, match="vocab.txt and tokenizer.json have different tokens"):
        WordPiece.from_folder(tmp_path)


def test_tokenizer_json_of_another_kind_is_refused(tmp_path):
    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="its model is BPE; expected WordPiece"):
        WordPiece.from_folder(tmp_path)
    Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="its normalizer is missing; expected BertNormalizer"):
        WordPiece.from_folder(tmp_path)
