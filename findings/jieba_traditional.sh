#!/usr/bin/env bash
# jieba 0.42.1 on traditional text: its dictionary is simplified, so many words lose their borders, without a word about it. One would have
# guessed that it cuts traditional text about as well, since it takes it without complaint. A simplified copy made character by character
# (OpenCC's TSCharacters table) has the same length, so its borders can be used for the traditional text.
# Source: jieba/dict.txt of the package; measured here on ten sentences.
bash "$(dirname "$0")/with_packages" jieba==0.42.1 opencc-python-reimplemented==0.1.7 "setuptools<81" <<'PY'
import logging
from importlib.resources import files

import jieba

jieba.setLogLevel(logging.ERROR)
lines = files("opencc").joinpath("dictionary", "TSCharacters.txt").read_text(encoding="utf-8").splitlines()
simplified = {ord(one): forms.split()[0] for one, forms in (line.split("\t") for line in lines if "\t" in line) if len(one) == 1}
simplified = {code: form for code, form in simplified.items() if len(form) == 1}
texts = [
    "這間酒店的環境很乾淨，服務員態度親切", "電視劇的結局讓觀眾非常失望", "請問開發票需要什麼證件", "圖書館週末也會開門", "這個網站的頁面設計簡潔",
    "經濟學家認為貨幣政策應該調整", "醫生建議他減少鹽分攝取", "鐵路運輸時間縮短了一半", "機場附近的交通擁擠", "學習編程語言需要練習",
]


def borders(words):
    found, at = set(), 0
    for word in words:
        at += len(word)
        found.add(at)
    return found


lost = words = 0
for text in texts:
    plain = text.translate(simplified)
    assert len(plain) == len(text)
    own, copied = borders(jieba.cut(text)), list(jieba.cut(plain))
    at = 0
    for word in copied:
        kept = (at == 0 or at in own) and at + len(word) in own and not any(at < place < at + len(word) for place in own)
        lost += not kept
        words += 1
        at += len(word)
print(f"jieba {jieba.__version__}: of {words} words of the simplified copies {lost} have other borders in the traditional texts ({100 * lost / words:.0f} %)")
print("as it stands:   ", "/".join(jieba.cut(texts[0])))
print("simplified copy:", "/".join(jieba.cut(texts[0].translate(simplified))))
raise SystemExit(0 if lost > words / 20 else 1)
PY
