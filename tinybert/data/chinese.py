"""Chinese words and scripts: jieba's dictionary and segmentation, and OpenCC's tables of simplified and traditional characters.

Each is loaded on first use, once per process: the dictionary takes about a second and 60 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from importlib.resources import files

from tinybert.errors import UserError

IDEOGRAPHS = re.compile("[\u4e00-\u9fff]+")
_SHARE = 0.2  # a vocabulary with a larger share of single ideographs is considered Chinese
_PACKAGES = {"jieba": "jieba==0.42.1", "opencc": "opencc-python-reimplemented==0.1.7"}


def is_chinese(vocabulary: list[str]) -> bool:
    """Whether a vocabulary is made for Chinese."""
    single = sum(1 for piece in vocabulary if len(bare := piece.removeprefix("##")) == 1 and "\u3400" <= bare <= "\u9fff")
    return single > _SHARE * len(vocabulary)


def words(text: str) -> list[str]:
    """Segment a text into words with jieba, including white space and punctuation; joined, they are the text.

    jieba's dictionary is simplified: traditional text is segmented like its simplified copy, which has the same length.

    Raises:
        UserError: jieba or OpenCC is not installed.
    """
    cut, at = [], 0
    for word in _jieba().cut(simplified(text)):
        cut.append(text[at : at + len(word)])
        at += len(word)
    return cut


def simplified(text: str) -> str:
    """The text with every traditional character simplified; the length is unchanged."""
    return text if text.isascii() else text.translate(_simplified_forms())


def is_traditional(text: str) -> bool:
    """Whether the text has more characters that are only traditional than characters that are only simplified."""
    table, only_simplified = _simplified_forms(), _simplified_only()
    return sum(ord(character) in table for character in text) > sum(character in only_simplified for character in text)


def is_simplified_only(character: str) -> bool:
    """Whether a character does not occur in traditional text."""
    return character in _simplified_only()


def dictionary() -> Iterator[tuple[str, int, str]]:
    """The entries of jieba's dictionary: word, frequency, part of speech.

    Raises:
        UserError: jieba is not installed.
    """
    _module("jieba")
    with files("jieba").joinpath("dict.txt").open(encoding="utf-8") as lines:
        for line in lines:
            word, frequency, tag = line.split(" ")
            yield word, int(frequency), tag.strip()


@lru_cache(1)
def _jieba():
    jieba = _module("jieba")
    cutter = jieba.Tokenizer()
    # jieba's own loader keeps a marshal file under a fixed name in the shared temporary folder, where anybody may have put it
    cutter.FREQ, cutter.total = cutter.gen_pfdict(files("jieba").joinpath("dict.txt").open("rb"))
    cutter.initialized = True
    return cutter


@lru_cache(1)
def _simplified_forms() -> dict[int, str]:
    """Maps codes of traditional characters to their simplified form, the first if there are several."""
    return {ord(one): forms[0] for one, forms in _table("TSCharacters.txt") if forms[0] != one}


@lru_cache(1)
def _simplified_only() -> frozenset[str]:
    return frozenset(one for one, forms in _table("STCharacters.txt") if one not in forms)


def _table(name: str) -> Iterator[tuple[str, list[str]]]:
    _module("opencc")
    with files("opencc").joinpath("dictionary", name).open(encoding="utf-8") as lines:
        for line in lines:
            one, _, forms = line.strip().partition("\t")
            if len(one) == 1 and forms and all(len(form) == 1 for form in forms.split()):
                yield one, forms.split()


def _module(name: str):
    try:
        return import_module(name)
    except ImportError:
        raise UserError(
            f"Chinese word segmentation needs the package {_PACKAGES[name].partition('==')[0]}, which is not installed.\n"
            f"Install it: pip install {' '.join(_PACKAGES.values())}"
        ) from None
