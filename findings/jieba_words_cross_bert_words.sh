#!/usr/bin/env bash
# jieba's words and BERT's words cross in plain ASCII: "1.5L" is 1.5 and L for jieba, but 1 and . and 5L for BERT: 5L begins inside one word
# of jieba and ends in the next. The same holds for 3.5kg and 2.5mm, but not for 12kg or 1.5.
# One would have guessed: BERT cuts at every ideograph, space and punctuation mark, so each word of jieba is some whole words of BERT, and
# masking all pieces that begin inside a word of jieba masks exactly that word.
# Source: jieba/finalseg/__init__.py, re_skip, takes a number with its decimals as one word; the BertPreTokenizer cuts at punctuation alone.
# Seen with jieba 0.42.1 and tokenizers 0.21.4.
bash "$(dirname "$0")/with_packages" jieba==0.42.1 tokenizers==0.21.4 <<'PYTHON'
import logging
from importlib.metadata import version

import jieba
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

jieba.setLogLevel(logging.ERROR)
print("jieba", version("jieba"), "tokenizers", version("tokenizers"))
normalizer, splitter = BertNormalizer(lowercase=False), BertPreTokenizer()
crossed = []
for text in ("净含量1.5L", "体重3.5kg", "厚度2.5mm", "体重12kg", "增长1.5倍"):
    words = jieba.lcut(text)
    berts = [word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
    ends = {sum(map(len, words[: i + 1])) for i in range(len(words))}
    inside = {sum(map(len, berts[: i + 1])) for i in range(len(berts))}
    if ends - inside:
        crossed.append(text)
    print(f"{text}: jieba {' | '.join(words)}, BERT {' | '.join(berts)}: {'they cross' if ends - inside else 'they fit'}")
raise SystemExit(0 if crossed == ["净含量1.5L", "体重3.5kg", "厚度2.5mm"] else 1)
PYTHON
