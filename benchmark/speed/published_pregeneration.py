"""Pregeneration as the published script does it, for comparison: one process, a tokenizer in Python, lists of word pieces, JSON lines.

Written anew after Huawei TinyBERT's pregenerate_training_data.py and the tokenizer of Google's BERT: the whole corpus is a list of
documents of sentences of word pieces; sequences are put together and cut word piece by word piece; one word piece of each is masked.
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
import unicodedata
from pathlib import Path


class PythonTokenizer:
    """Lower-cased word pieces of a text, character by character."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.vocabulary = dict.fromkeys(vocabulary)

    def tokenize(self, text: str) -> list[str]:
        """The word pieces of a text."""
        return [piece for word in self._words(text) for piece in self._pieces(word)]

    def _words(self, text: str) -> list[str]:
        cleaned = []
        for char in text:
            category = unicodedata.category(char)
            if ord(char) in (0, 0xFFFD) or (category[0] == "C" and char not in "\t\n\r"):
                continue
            if char in " \t\n\r" or category == "Zs":
                cleaned.append(" ")
            elif _is_ideograph(ord(char)):
                cleaned.append(f" {char} ")
            else:
                cleaned.append(char)
        words = []
        for word in "".join(cleaned).split():
            plain = "".join(char for char in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(char) != "Mn")
            current: list[str] = []
            for char in plain:
                if _is_punctuation(char):
                    words += ["".join(current), char]
                    current = []
                else:
                    current.append(char)
            words.append("".join(current))
        return [word for word in words if word]

    def _pieces(self, word: str) -> list[str]:
        if len(word) > 100:
            return ["[UNK]"]
        found, begin = [], 0
        while begin < len(word):
            for end in range(len(word), begin, -1):
                piece = ("##" if begin else "") + word[begin:end]
                if piece in self.vocabulary:
                    break
            else:
                return ["[UNK]"]
            found.append(piece)
            begin = end
        return found


def _is_ideograph(code: int) -> bool:
    return 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0x20000 <= code <= 0x2CEAF or 0xF900 <= code <= 0xFAFF


def _is_punctuation(char: str) -> bool:
    code = ord(char)
    ascii_symbol = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_symbol or unicodedata.category(char)[0] == "P"


def pregenerate(text: Path, vocabulary: Path, output: Path, epochs: int, max_seq_len: int = 128, short_seq_prob: float = 0.1) -> int:
    """Write `epoch_<e>.json` and metrics of a sentence-a-line file; returns the word pieces written."""
    words = vocabulary.read_text(encoding="utf-8").split("\n")[:-1]
    tokenizer = PythonTokenizer(words)
    documents: list[list[list[str]]] = [[]]
    with open(text, encoding="utf-8") as file:
        for line in file:
            if line.strip():
                documents[-1].append(tokenizer.tokenize(line.strip()))
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
