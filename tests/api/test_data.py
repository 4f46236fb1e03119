"""Data from files, lists, dicts and pandas: equal rows give equal data."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tinybert as tb

ROWS = [("word1 word2", "no"), ('word20, "word21"\nword3', "yes"), ("word4 \u4f60", "no"), ("word22", "yes")]
DICTS = [{"text": text, "label": label} for text, label in ROWS]


def test_rows_of_tags_and_questions_are_those_of_the_files(tmp_path):
    (tmp_path / "a.conll").write_text("Ann B-PER\nlives O\n\nParis B-LOC\n")
    tagged = tb.from_files(tmp_path / "a.conll", tmp_path / "a.conll")
    assert tagged.rows("dev") == [{"words": ["Ann", "lives"], "tags": ["B-PER", "O"]}, {"words": ["Paris"], "tags": ["B-LOC"]}]
    asked = [{"id": "1", "question": "who?", "answers": [{"text": "Ann", "answer_start": 0}]}]
    content = {"data": [{"paragraphs": [{"context": "Ann lives", "qas": asked}]}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    data = tb.from_files(tmp_path / "a.json", tmp_path / "a.json", tmp_path / "a.json")
    row = {"text": "who?", "text_pair": "Ann lives"}
    assert data.rows("dev") == [row | {"label": ["Ann"]}] and data.rows("test") == [row]


def test_lists_dicts_columns_pandas_and_files_give_the_same_rows(tmp_path):
    pandas = pytest.importorskip("pandas", reason="the package works without it")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"t": text, "l": label}) + "\n" for text, label in ROWS))
    columns = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    frame = pandas.DataFrame({"t": columns["text"], "l": columns["label"], "other": range(4)})
    every = [
        tb.from_rows(ROWS, ROWS),
        tb.from_rows(DICTS, DICTS),
        tb.from_rows(columns, columns),
        tb.from_rows(frame, frame, text="t", label="l"),
        tb.from_files(tmp_path / "rows.jsonl", tmp_path / "rows.jsonl", text="t", label="l"),
    ]
    for data in every:
        assert data.labels == ("no", "yes") and data.rows("train") == DICTS == data.rows("dev")
    assert every[0].options["train_file"] == every[1].options["train_file"]


def test_pairs_numbers_and_rows_without_labels_are_read():
    pairs = tb.from_rows([("a", "b", 1), ("c", "d", 0)], [("a", "b", 1), ("c", "d", 0)], test=[{"text": "e", "text_pair": "f"}])
    assert pairs.rows("train") == [{"text": "a", "text_pair": "b", "label": "1"}, {"text": "c", "text_pair": "d", "label": "0"}]
    assert pairs.rows("test") == [{"text": "e", "text_pair": "f"}] and pairs.labels == ("0", "1")
    assert tb.from_rows([("a", np.int64(3)), ("b", np.int64(10))]).labels == ("3", "10")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tb.from_rows([]), "no rows were given"),
        (lambda: tb.from_rows("train.csv"), "for a file, from_files"),
        (lambda: tb.from_rows([{"text": "a"}]), "train, row 0: found the keys 'text'\nexpected the key 'label'"),
        (lambda: tb.from_rows([("a", "no"), ("b", float("nan"))]), "train, row 1: found nan under 'label'"),
        (lambda: tb.from_rows([("a", "no"), (None, "yes")]), "train, row 1: found None under 'text'"),
        (lambda: tb.from_rows([("a", "b", "c", "d")]), "train, row 0: found 4 values"),
        (lambda: tb.from_rows({"text": ["a", "b"], "label": ["no"]}), "2 (text), 1 (label) rows"),
        (lambda: tb.from_rows([("a", "no")]), "expected at least two"),
        (lambda: tb.from_files("nowhere.csv", text="text", label="label"), "nowhere.csv does not exist"),
    ],
)
def test_rows_that_make_no_task_are_refused(make, words):
    with pytest.raises(tb.UserError) as problem:
        make()
    assert words in str(problem.value)


def test_unknown_split_is_refused_with_the_known_ones():
    with pytest.raises(tb.UserError, match="has no split 'validation'\nexpected one of train"):
        tb.from_rows(ROWS).rows("validation")


def test_rows_with_lists_of_labels_are_a_multi_label_task():
    data = tb.from_rows([("a", ["x", "y"]), ("b", ["x"]), ("c", ["y"]), ("d", [])], kind="multi_label")
    assert data.labels == ("x", "y")
    assert [row["label"] for row in data.rows("train")] == [["x", "y"], ["x"], ["y"], []]
