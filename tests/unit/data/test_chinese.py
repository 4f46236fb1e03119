"""Chinese word segmentation loses no text and treats traditional text like simplified text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.data import chinese
from tinybert.errors import UserError

SIMPLIFIED = "电视剧的头发很干净，iPhone 12 值1.5万元"
TRADITIONAL = "電視劇的頭髮很乾淨，iPhone 12 值1.5萬元"


@settings(deadline=None, max_examples=50)
@given(st.text(st.sampled_from("的头髮很乾净，。 \t\u3000aZ1.5％🙂é\u0301裏里后後\U00020000")))
def test_joined_words_equal_the_text(text):
    assert "".join(chinese.words(text)) == text
    assert len(chinese.simplified(text)) == len(text)


def test_traditional_text_is_segmented_like_its_simplified_copy():
    assert chinese.simplified(TRADITIONAL) == SIMPLIFIED
    assert list(map(len, chinese.words(TRADITIONAL))) == list(map(len, chinese.words(SIMPLIFIED)))
    assert {"電視劇", "頭髮", "乾淨"} <= set(chinese.words(TRADITIONAL))


def test_script_is_decided_by_the_majority_of_characters():
    assert chinese.is_traditional(TRADITIONAL) and not chinese.is_traditional(SIMPLIFIED)
    assert not chinese.is_traditional("plain text") and not chinese.is_traditional("电视剧和頭")


def test_missing_package_is_reported_with_its_version(monkeypatch):
    monkeypatch.setattr(chinese, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    with pytest.raises(UserError, match=r"jieba==0\.42\.1"):
        list(chinese.dictionary())
