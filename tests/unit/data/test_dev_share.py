"""Dev rows that are a share of a training file: which rows they are, and the files they become."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tinybert.commands.finetune import FinetuneConfig
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.questions import read_questions
from tinybert.data.readers import read_split
from tinybert.data.stratify import set_aside
from tinybert.data.tagged import iter_sentences
from tinybert.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))


def keys(count: int) -> np.ndarray:
    return np.random.default_rng(5).permutation(count).astype(np.uint64)


# === Which rows ===


def test_every_class_keeps_its_share():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    chosen = set_aside(keys(1000), labels[:, None], 0.1, seed=1)
    assert np.bincount(labels[chosen]).tolist() == [90, 9, 1]


def test_many_small_classes_still_give_the_wanted_number_of_rows():
    labels = np.repeat(np.arange(100), 4)  # 0.4 rows of each
    chosen = set_aside(keys(400), labels[:, None], 0.1, seed=1)
    assert chosen.sum() == 40 and np.bincount(labels[~chosen], minlength=100).min() == 3


def test_class_with_one_row_or_one_text_stays_in_training():
    labels, groups = np.array([0] * 40 + [1] + [2] * 6), np.array([*range(41), *[99] * 6], np.uint64)
    for seed in range(20):
        chosen = set_aside(groups, labels[:, None], 0.5, seed)
        assert np.bincount(labels[chosen], minlength=3)[1:].tolist() == [0, 0]


def test_every_label_of_a_multi_label_file_keeps_its_share():
    random = np.random.default_rng(2)
    sets = random.random((4000, 6)) < np.array([0.5, 0.3, 0.2, 0.1, 0.02, 0.005])
    chosen = set_aside(keys(4000), [np.flatnonzero(row).tolist() for row in sets], 0.2, seed=3)
    assert abs(chosen.sum() - 800) <= 8
    assert np.abs(sets[chosen].sum(0) - 0.2 * sets.sum(0)).max() <= 2
    without = ~sets.any(1)
    assert abs(chosen[without].mean() - 0.2) < 0.02


def test_groups_are_never_split():
    groups = np.repeat(np.arange(60, dtype=np.uint64), np.arange(1, 61))
    chosen = set_aside(groups, [()] * len(groups), 0.1, seed=1)
    assert not set(groups[chosen]) & set(groups[~chosen]) and abs(chosen.mean() - 0.1) < 0.02


def test_choice_depends_on_seed_and_rows_but_not_on_their_order():
    order, labels = np.random.default_rng(1).permutation(500), np.arange(500) % 7
    first = set_aside(keys(500), labels[:, None], 0.1, seed=1)
    assert (set_aside(keys(500)[order], labels[order][:, None], 0.1, seed=1) == first[order]).all()
    assert (set_aside(keys(500), labels[:, None], 0.1, seed=2) != first).any()


# === Files ===


def divided(path: Path, **options):
    described = {"text_a_column": "text", "label_column": "label", "dev_share": 0.25, **options}
    return custom_task("own", CustomFiles(train_file=path, **described))


ROWS = [(f'text "{i}", line\n{i % 29}', "ab"[i % 4 == 0]) for i in range(80)]


def written(path: Path) -> Path:
    if path.suffix in (".jsonl", ".json"):
        rows = [{"text": text, "other": [1.50], "label": label} for text, label in ROWS]
        text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8-sig")
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({"text": [row[0] for row in ROWS], "label": [row[1] for row in ROWS]}), path)
    else:
        delimiter, rows = (",", ROWS) if path.suffix == ".csv" else ("\t", [(text.replace("\n", " "), label) for text, label in ROWS])
        with open(path, "w", encoding="utf-8", newline="") as out:
            quoting = csv.QUOTE_MINIMAL if path.suffix == ".csv" else csv.QUOTE_NONE
            csv.writer(out, delimiter=delimiter, quoting=quoting, quotechar='"' if path.suffix == ".csv" else None).writerows(
                [("text", "label"), *rows]
            )
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl", "rows.json", "rows.parquet"])
def test_both_files_together_are_the_training_file(tmp_path, name):
    path = written(tmp_path / name)
    task = divided(path)
    whole = read_split(custom_task("own", CustomFiles(train_file=path, text_a_column="text", label_column="label")), "", "train")
    parts = {split: read_split(task, "", split) for split in ("train", "dev")}
    found = [(text, label) for part in parts.values() for text, label in zip(part.text_a, part.labels, strict=True)]
    assert sorted(found) == sorted(zip(whole.text_a, whole.labels, strict=True)) and len(parts["dev"]) == 20
    assert np.bincount(parts["dev"].labels).tolist() == [15, 5]
    assert (task.dev_rows.rows, task.dev_rows.dev_rows, task.dev_rows.share, task.dev_rows.seed) == (80, 20, 0.25, 42)
    again = divided(path)
    assert again == task and divided(path, dev_seed=1).dev_rows.sha256 != task.dev_rows.sha256


@pytest.mark.parametrize("kind", ["classification", "multi_label"])
def test_order_of_the_labels_and_absent_ones_make_no_difference(tmp_path, kind):
    path = tmp_path / "rows.tsv"
    random = np.random.default_rng(1)
    path.write_text("text\tlabel\n" + "".join(f"text {i}\t{'abc'[min(2, random.geometric(0.6) - 1)]}\n" for i in range(95)))
    found = [divided(path, labels=labels, kind=kind).dev_rows.sha256 for labels in (None, "c,a,b", "x,b,c,a")]
    assert len(set(found)) == 1


def test_texts_that_differ_in_case_and_blanks_are_on_one_side(tmp_path):
    path = tmp_path / "rows.tsv"
    texts = [variant for i in range(40) for variant in (f"A text {i}", f"a  TEXT {i} ")]
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{i % 3}\n" for i, text in enumerate(texts)))
    task = divided(path)
    sides = [{" ".join(text.lower().split()) for text in read_split(task, "", split).text_a} for split in ("train", "dev")]
    assert len(sides[0]) + len(sides[1]) == 40 and 9 <= len(sides[1]) <= 11


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ids_stay_with_their_rows(tmp_path, suffix):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": [f"text {i}" for i in range(40)], "label": ["a", "b"] * 20, "id": [f"id {i}" for i in range(40)]})
    path = tmp_path / f"rows.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    parts = [read_split(divided(path, id_column="id"), "", split) for split in ("train", "dev")]
    assert all(ids[3:] == text[5:] for part in parts for ids, text in zip(part.ids, part.text_a, strict=True))
    assert [len(part) for part in parts] == [30, 10]


def test_augmented_rows_stay_those_of_the_training_file(tmp_path):
    task = divided(written(tmp_path / "rows.csv"))
    assert task.split("train_aug").file == str(tmp_path / "rows_aug.csv") and task.split("train").file != str(tmp_path / "rows.csv")


def test_rows_that_are_skipped_are_in_neither_file(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"text {i}\t{'-ab'[i % 3]}\n" for i in range(60)))
    task = divided(path)
    assert (task.labels, task.dev_rows.rows) == (("a", "b"), 40)
    assert sum(len(read_split(task, "", split)) for split in ("train", "dev")) == 40


def test_scores_are_divided_at_random(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"text {i}\t{i / 7}\n" for i in range(60)))
    task = divided(path, kind="regression")
    dev = read_split(task, "", "dev").labels
    assert len(dev) == 15 and 2 < dev.mean() < 7


def test_sentences_keep_the_share_of_every_type_of_entity(tmp_path):
    path = tmp_path / "rows.conll"
    sentences = [[("w" + str(i), "I-PER" if i % 4 == 0 else "O"), ("in", "O"), ("x", "B-LOC" if i % 10 == 0 else "O")] for i in range(80)]
    path.write_text("\n".join("".join(f"{word} {tag}\n" for word, tag in sentence) for sentence in sentences))
    task = divided(path, text_a_column=None, label_column=None)
    found = {name: next(iter_sentences(Path(split.file), split)) for name, split in task.splits.items() if name != "train_aug"}
    tags = [tag for sentence in found["dev"].tags for tag in sentence]
    assert len(found["dev"].words) == 20 and (tags.count("B-PER"), tags.count("B-LOC")) == (5, 2)
    assert sorted(map(tuple, found["dev"].words + found["train"].words)) == sorted(tuple(w for w, _ in s) for s in sentences)


def test_questions_about_one_text_are_on_one_side(tmp_path):
    path = tmp_path / "rows.json"
    paragraphs = [
        {"context": f"text number {i // 2}", "qas": [{"id": f"{i}-{q}", "question": "?", "answers": []} for q in range(1 + i % 3)]}
        for i in range(60)
    ]
    path.write_text(json.dumps({"version": "1", "data": [{"paragraphs": paragraphs[:50]}, {"paragraphs": paragraphs[50:]}]}))
    task = divided(path, text_a_column=None, label_column=None)
    sides = [read_questions(Path(task.split(split).file)).items for split in ("train", "dev")]
    contexts = [{question.context for question in side} for side in sides]
    assert not contexts[0] & contexts[1] and len(sides[0]) + len(sides[1]) == 120 and 26 <= len(sides[1]) <= 34


def test_wrong_label_is_reported_with_the_line_of_the_own_file(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"text {i}\ta\n" for i in range(9)) + "x\tc\n")
    with pytest.raises(UserError, match=r"rows\.tsv, line 11: found the label 'c'"):
        divided(path, labels="a,b")


def test_too_few_rows_are_refused(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("text\tlabel\nx\ta\ny\tb\nz\ta\n")
    with pytest.raises(UserError, match=r"--dev_share 0\.1 of the 3 rows of .*leaves no dev rows"):
        divided(path, dev_share=0.1, allow_suspicious_labels=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_file": "a.tsv", "dev_file": "b.tsv"}, "--dev_share and --dev_file contradict each other"),
        ({"dev_file": "b.tsv", "do_eval": True}, "--dev_share needs --train_file"),
        ({}, "--dev_share applies only to your own files"),
        ({"train_file": "a.tsv", "dev_share": 0.6}, "--dev_share got 0.6\nexpected a number above 0 and at most 0.5"),
    ],
)
def test_contradictory_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        FinetuneConfig(**{"task_name": "own", "model_name_or_path": "m", "dev_share": 0.1, **options})


def test_seed_without_a_share_is_reported_as_unused():
    config = FinetuneConfig(task_name="own", model_name_or_path="m", train_file="a.tsv", dev_file="b.tsv", dev_seed=3)
    assert [(entry.name, entry.reason) for entry in config.resolve("own").unused] == [("dev_seed", "only --dev_share uses it")]
