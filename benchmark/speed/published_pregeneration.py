"""Pregeneration as in the published script, for comparison: one process, a tokenizer in Python, lists of tokens, JSON lines.

Reimplementation of Huawei TinyBERT's pregenerate_training_data.py: the whole corpus is a list of documents of sentences of tokens;
sequences are assembled and truncated token by token; one token of each is masked. The tokenizer is PaddleNLP's BertTokenizer in
Python, reduced to the parts that Huawei's also has, word splitting and WordPiece, without the other layers (which would make it
a third slower).
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
from pathlib import Path

from paddlenlp.transformers.bert.tokenizer import BertTokenizer


def pregenerate(
    text: Path, tokenizer: BertTokenizer, vocabulary: Path, output: Path, epochs: int, max_seq_len: int = 128, short_seq_prob: float = 0.1
) -> int:
    """Write `epoch_<e>.json` and metrics of a file with one sentence per line; returns the number of tokens written."""
    words = vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    words_of, pieces_of = tokenizer.basic_tokenizer.tokenize, tokenizer.wordpiece_tokenizer.tokenize
    documents: list[list[list[str]]] = [[]]
    with open(text, encoding="utf-8") as file:
        for line in file:
            if line.strip():
                documents[-1].append([piece for word in words_of(line.strip()) for piece in pieces_of(word)])
            elif documents[-1]:
                documents.append([])
    documents = [document for document in documents if document]
    ends = list(itertools.accumulate(map(len, documents)))
    output.mkdir(parents=True, exist_ok=True)
    tokens = 0
    for epoch in range(epochs):
        rows = 0
        with open(output / f"epoch_{epoch}.json", "w", encoding="utf-8") as file:
            for number in range(len(documents)):
                for row in _rows(documents, ends, number, max_seq_len, short_seq_prob, words):
                    file.write(json.dumps(row) + "\n")
                    tokens += len(row["tokens"])
                    rows += 1
        (output / f"epoch_{epoch}_metrics.json").write_text(json.dumps({"num_training_examples": rows, "max_seq_len": max_seq_len}))
    return tokens


def _rows(documents: list, ends: list[int], number: int, max_seq_len: int, short_seq_prob: float, words: list[str]) -> list[dict]:
    document, most = documents[number], max_seq_len - 3
    target = random.randint(2, most) if random.random() < short_seq_prob else most
    rows: list[dict] = []
    chunk: list[list[str]] = []
    length = at = 0
    while at < len(document):
        chunk.append(document[at])
        length += len(document[at])
        if at == len(document) - 1 or length >= target:
            middle = random.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            a = [piece for sentence in chunk[:middle] for piece in sentence]
            b: list[str] = []
            elsewhere = len(chunk) == 1 or random.random() < 0.5
            if elsewhere:
                other = documents[_other(ends, number)]
                for sentence in other[random.randrange(len(other)) :]:
                    b += sentence
                    if len(b) >= target - len(a):
                        break
                at -= len(chunk) - middle
            else:
                b = [piece for sentence in chunk[middle:] for piece in sentence]
            _truncate(a, b, most)
            rows.append(_row(a or ["."], b or ["."], elsewhere, words))
            chunk, length = [], 0
        at += 1
    return rows


def _other(ends: list[int], number: int) -> int:
    begin, end = (ends[number - 1] if number else 0), ends[number]
    return bisect.bisect_right(ends, (end + random.randrange(ends[-1] - (end - begin))) % ends[-1])


def _truncate(a: list[str], b: list[str], most: int) -> None:
    while len(a) + len(b) > most:
        longer = a if len(a) > len(b) else b
        if random.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def _row(a: list[str], b: list[str], elsewhere: bool, words: list[str]) -> dict:
    tokens = ["[CLS]", *a, "[SEP]", *b, "[SEP]"]
    places = [place for place, token in enumerate(tokens) if token not in ("[CLS]", "[SEP]")]
    random.shuffle(places)
    place = places[0]
    label, lot = tokens[place], random.random()
    tokens[place] = "[MASK]" if lot < 0.8 else label if lot < 0.9 else random.choice(words)
    return {
        "tokens": tokens,
        "segment_ids": [0] * (len(a) + 2) + [1] * (len(b) + 1),
        "is_random_next": elsewhere,
        "masked_lm_positions": [place],
        "masked_lm_labels": [label],
    }
