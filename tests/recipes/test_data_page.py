"""The commands of docs/data.md run, in order, on rows of every format and a model of a few kilobytes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests import tiny
from tests.pages import ROOT, blocks, command_lines
from tests.recipes import test_pages
from tests.recipes.test_pages import LETTERS, SHAPE, originals, run_line, sentence, world, write

__all__ = ["originals", "world"]  # fixtures
STEPS = {"max_steps": "2", "batch_size": "8"}


def question(number: int, numbers: random.Random) -> dict:
    """A text in the form of SQuAD, whose answer is one of its words."""
    text = sentence(numbers)
    answer = text.split()[-1]
    answers = [{"text": answer, "answer_start": text.rindex(answer)}]
    return {"context": text, "qas": [{"id": str(number), "question": sentence(numbers), "answers": answers}]}


@pytest.fixture
def files(world, monkeypatch) -> Path:
    """The folder of `world` with the files that the page names."""
    numbers = random.Random(1)
    for split, count in (("train", 24), ("dev", 12)):
        texts = [sentence(numbers, number % 2) for number in range(count)]
        write(world / "reviews" / f"{split}.tsv", ["text\tlabel", *(f"{text}\t{number % 2}" for number, text in enumerate(texts))])
        if split == "train":
            write(world / "reviews" / "all.csv", ["text,label", *(f"{text},{number % 2}" for number, text in enumerate(texts))])
        shares = [f"{number},{0.7 - 0.4 * (number % 2)},{0.3 + 0.4 * (number % 2)}" for number in range(count)]
        write(world / "reviews" / "soft.csv" if split == "train" else world / "reviews" / "unused.csv", ["id,proba_0,proba_1", *shares])
        labels = ("duplicate", "related", "different")
        pairs = [f"{labels[number % 3]},{text},{sentence(numbers)}" for number, text in enumerate(texts)]
        write(world / ("tickets.csv" if split == "train" else "tickets_dev.csv"), pairs)
        scores = [{"question": text, "answer": sentence(numbers), "stars": number % 5} for number, text in enumerate(texts)]
        write(world / f"{split}.jsonl", [json.dumps(row) for row in scores])
        moods = ("joy", "joy|love", "love", "")
        write(world / f"{split}.tsv", ["text\tmoods", *(f"{text}\t{moods[number % 4]}" for number, text in enumerate(texts))])
        tagged = [f"{text.split()[0]} B-PER\n" + "".join(f"{word} O\n" for word in text.split()[1:]) for text in texts]
        write(world / f"{split}.conll", tagged)
        paragraphs = [question(number, numbers) for number in range(count)]
        write(world / f"{split}-v1.1.json", [json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]})])
    write(world / "texts.txt", [sentence(numbers) for _ in range(12)])
    write(world / "new.jsonl", [json.dumps({"question": sentence(numbers), "answer": sentence(numbers)})])
    monkeypatch.setattr(tiny, "SHAPE", {**tiny.SHAPE, **SHAPE, "num_hidden_layers": 4, "max_position_embeddings": 512})
    for name in ("bert-base-uncased", "bert-base-cased"):
        tiny.masked_lm_folder(world / name, tiny.WORDS)
    monkeypatch.setitem(test_pages.SMALL, "finetune", STEPS)
    monkeypatch.setitem(test_pages.SMALL, "distill", {**STEPS, "allow_weak_teacher": "True"})
    assert LETTERS[0] in tiny.WORDS
    return world


def test_every_command_of_the_data_page_runs(files):
    for _, runs, code in blocks(ROOT / "docs" / "data.md", "bash"):
        for line in command_lines(code) if runs else ():
            run_line(line)
    assert (files / "runs" / "quality" / "quality.tsv").is_file() and (files / "runs" / "reviews" / "reviews.tsv").is_file()
