"""Ids equal PaddleNLP's BertTokenizer, and folders are read and written like PaddleNLP's."""

import json

import pytest

from tests.unit.data.conftest import WORDS
from tinybert.data.readers import read_split
from tinybert.data.tasks import get_task
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

TRICKY = [
    "",
    " \t ",
    "Café naïve İstanbul ǅ ß ẞ",
    "e\u0301 combining \u0345",
    "x\u08d3y \u08d3 younger than the Rust library's Unicode \u2e52z",
    "ΟΔΟΣ Σίσυφος aΣ",
    "中文 mixed 日本語カタカナ 한국어 𠀀𫠠",
    "emoji 😀 👍🏽 ok ☺",
    "a\x00b\x01c\x7fd\u200be\ufeffg \u00adsoft \ufffd \ue000",
    "\u0378 unassigned \U000e0001",
    "x" * 100 + " " + "y" * 101 + " zz",
    "price $5 €10 £3 ¥4 + = < > ^ ` ~ | ½ × © ™ → x² º µ Ø Ŋ ŋ Ʊ",
    "tab\there\u3000wide\u00a0nb\u2028line\u2029par\x85nel\x0bvt",
    "don't --- ... '' \"quoted\"",
    "hello [SEP] world [CLS] [MASK] [UNK] [PAD]",
    "hello[SEP]world ([MASK]) [MASK]ed [sep] £[SEP] 中[SEP]文",
    "[SEP]",
    "[1] a citation [citation needed]",
    "ﬁ ligature １２３ＡＢＣ ＋ ～ ￥",
    "lone \ud800 surrogate [SEP] \udfff",
]


def reference(vocab, **settings):
    """PaddleNLP's tokenizer in Python."""
    tokenizer = pytest.importorskip("paddlenlp.transformers", reason="PaddleNLP is not installed").BertTokenizer(str(vocab), **settings)
    return lambda text: tokenizer(text, add_special_tokens=False, return_token_type_ids=False)["input_ids"]


def vocabulary(real_data, name):
    path = real_data / "vocab" / f"bert-base-{name}-vocab.txt"
    if not path.is_file():
        pytest.skip(f"no {path.name} here")
    return path


def ours(path, **settings):
    return WordPiece(path.read_text(encoding="utf-8").split("\n")[:-1], **settings)


@pytest.mark.parametrize(("name", "lower"), [("uncased", True), ("uncased", False), ("chinese", False), ("chinese", True)])
def test_tricky_text_gives_the_ids_of_paddlenlp(real_data, name, lower):
    path = vocabulary(real_data, name)
    expected = reference(path, do_lower_case=lower)
    got = ours(path, do_lower_case=lower).ids(TRICKY)
    for text, ids in zip(TRICKY, got, strict=True):
        assert ids == expected(text), repr(text)


def test_real_sentences_give_the_ids_of_paddlenlp(real_data):
    path = vocabulary(real_data, "uncased")
    texts = []
    for name in ("CoLA", "SST-2", "MRPC", "STS-B", "MNLI", "QNLI", "RTE"):
        task = get_task(name)
        if (real_data / "Glue" / task.folder / "train.tsv").is_file():
            examples = read_split(task, real_data / "Glue" / task.folder, "train")
            every = max(1, len(examples) // 60)
            texts += examples.text_a[::every][:60] + (examples.text_b or [])[::every][:60]
            texts += [text for text in examples.text_a if not text.isascii()][:40]
    assert len(texts) > 300
    expected = reference(path)
    for text, ids in zip(texts, ours(path).ids(texts), strict=True):
        assert ids == expected(text), text


def test_chinese_sentences_give_the_ids_of_paddlenlp(real_data):
    path = vocabulary(real_data, "chinese")
    source = real_data / "ChnSentiCorp" / "dev.tsv"
    if not source.is_file():
        pytest.skip("no ChnSentiCorp here")
    texts = source.read_text(encoding="utf-8").split("\n")[1:150]
    expected = reference(path, do_lower_case=False)
    for text, ids in zip(texts, ours(path, do_lower_case=False).ids(texts), strict=True):
        assert ids == expected(text), text


@pytest.mark.parametrize("settings", [{"strip_accents": False}, {"do_lower_case": False, "strip_accents": True}])
def test_strip_accents_setting_is_followed(real_data, settings):
    path = vocabulary(real_data, "uncased")
    texts = ["Café", "naïve É", "a\u0301b", "x \u0903 y"]
    assert ours(path, **settings).ids(texts) == [reference(path, **settings)(text) for text in texts]


def test_tokenize_chinese_chars_setting_is_followed(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, "中文", "中", "文"]) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenize_chinese_chars": False}))
    assert WordPiece.from_folder(tmp_path).ids(["中文"]) == [[len(WORDS)]]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenize_chinese_chars": None}))
    assert WordPiece.from_folder(tmp_path).ids(["中文"]) == [[len(WORDS) + 1, len(WORDS) + 2]]


@pytest.mark.parametrize("tokenizer_class", ["BertTokenizer", "TinyBertTokenizer"])
def test_paddlenlp_reads_the_saved_tokenizer(tmp_path, word_pieces, tokenizer_class):
    transformers = pytest.importorskip("paddlenlp.transformers", reason="PaddleNLP is not installed")
    cased = WordPiece([*WORDS, "Good"], do_lower_case=False)
    cased.save(tmp_path, tokenizer_class)
    loaded = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert type(loaded).__name__ == tokenizer_class
    text = "Good good films £5 [MASK]"
    assert loaded(text)["input_ids"] == [cased.cls_id, *cased.ids([text])[0], cased.sep_id]
    assert loaded.pad_token_id == cased.pad_id and loaded.mask_token_id == cased.mask_id
    again = WordPiece.from_folder(tmp_path)
    assert again.fingerprint == cased.fingerprint
    assert again.fingerprint != word_pieces.fingerprint


def test_every_setting_that_changes_ids_changes_the_fingerprint():
    variants = [
        WordPiece(list(WORDS)),
        WordPiece(list(WORDS), do_lower_case=False),
        WordPiece(list(WORDS), strip_accents=False),
        WordPiece(list(WORDS), tokenize_chinese_chars=False),
        WordPiece([*WORDS[:-2], WORDS[-1], WORDS[-2]]),
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_vocabulary_with_bom_and_crlf_gives_the_same_ids(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(WORDS).encode())
    loaded = WordPiece.from_folder(tmp_path)
    assert loaded.vocab_size == len(WORDS)
    assert loaded.fingerprint == WordPiece(list(WORDS)).fingerprint


def test_unicode_line_separators_in_a_vocabulary_do_not_shift_ids(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS[:5], "\u2028", "\x85", "good"]) + "\n", encoding="utf-8")
    assert WordPiece.from_folder(tmp_path).ids(["good"]) == [[7]]


def test_duplicate_and_blank_lines_keep_the_numbering(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS[:5], "good", "", "good", "bad"]) + "\n")
    loaded = WordPiece.from_folder(tmp_path)
    assert loaded.vocab_size == 9
    assert loaded.ids(["good bad"]) == [[7, 8]]


def test_lower_case_follows_argument_then_file_then_default(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert WordPiece.from_folder(tmp_path).do_lower_case
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert not WordPiece.from_folder(tmp_path).do_lower_case
    assert WordPiece.from_folder(tmp_path, do_lower_case=True).do_lower_case


def test_cased_vocabulary_without_a_setting_gives_a_warning(tmp_path, capsys):
    capitals = ["W" + "".join("abcdefghij"[int(digit)] for digit in str(i)) for i in range(200)]
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, *capitals]) + "\n")
    WordPiece.from_folder(tmp_path)
    assert "looks cased" in capsys.readouterr().err
    WordPiece.from_folder(tmp_path, do_lower_case=False)
    assert not capsys.readouterr().err


def test_special_tokens_may_have_other_names(tmp_path):
    words = ["<pad>" if word == "[PAD]" else word for word in WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    with pytest.raises(UserError, match=r"lacks \[PAD\]"):
        WordPiece.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": {"content": "<pad>", "lstrip": false}}')
    assert WordPiece.from_folder(tmp_path).pad_id == 0


def test_vocabulary_without_mask_token_is_accepted():
    assert WordPiece([word for word in WORDS if word != "[MASK]"]).mask_id is None


def test_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt does not exist"):
        WordPiece.from_folder(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\x80\x81")
    with pytest.raises(UserError, match="not UTF-8"):
        WordPiece.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="JSON"):
        WordPiece.from_folder(tmp_path)
