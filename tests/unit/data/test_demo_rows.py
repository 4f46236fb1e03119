"""The sentences without labels that the demo adds to its labelled rows."""

from __future__ import annotations

import re

from tinybert.data.demo_rows import unlabelled_sentences
from tinybert.data.places import demo_folder


def runs_of_five(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z']+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def test_unlabelled_sentences_differ_and_depend_on_the_seed_alone():
    found = unlabelled_sentences(500, seed=3)
    assert len(set(found)) == 500 and found == unlabelled_sentences(500, seed=3) != unlabelled_sentences(500, seed=4)
    assert all(text[0].isupper() and text.endswith(".") and "\t" not in text and "{" not in text for text in found)


def test_no_unlabelled_sentence_shares_five_words_in_a_row_with_a_dev_row():
    dev = {run for line in (demo_folder() / "dev.tsv").read_text().splitlines()[1:] for run in runs_of_five(line.split("\t")[0])}
    assert not dev & {run for text in unlabelled_sentences(20_000, seed=0) for run in runs_of_five(text)}
