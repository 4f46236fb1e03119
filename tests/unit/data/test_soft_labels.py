"""Files of soft labels: every format gives the same logits, and wrong content is refused with what was expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinybert.data.soft_labels import SoftLabels, read_soft_labels
from tinybert.data.tasks import get_task
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS

TASK = replace(get_task("MNLI"), labels=("no", "yes", "maybe"))
SCORES = get_task("STS-B")
LOGITS = np.array([[1.5, -2.0, 0.25], [0.0, 3.0, -1.0]], np.float32)
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
ROWS = np.arange(2)


def table(separator: str, names: list[str], values: np.ndarray, ids: list[str] | None = None) -> str:
    lines = [[*(["key"] if ids else []), *names]]
    lines += [[*([ids[row]] if ids else []), *map(repr, map(float, value))] for row, value in enumerate(values)]
    return "".join(separator.join(line) + "\n" for line in lines)


def written(folder: Path, name: str) -> Path:
    """The same logits in a file of this name."""
    path, order = folder / name, [2, 0, 1]
    names = [TASK.labels[i] for i in order]
    if name == "rows.npy":
        np.save(path, LOGITS)
    elif name == "named.npz":
        np.savez(path, logits=LOGITS[:, order], labels=np.array(names), ids=np.array(["a", "b"]))
    elif name.endswith((".tsv", ".csv")):
        path.write_text(table("\t" if name.endswith("tsv") else ",", [f"logit_{one}" for one in names], LOGITS[:, order], ["a", "b"]))
    elif name == "lists.jsonl":
        path.write_text("".join(json.dumps({"key": key, "logits": row.tolist()}) + "\n" for key, row in zip("ab", LOGITS, strict=True)))
    else:
        rows = [{"key": key, "logits": dict(zip(names, row[order].tolist(), strict=True))} for key, row in zip("ab", LOGITS, strict=True)]
        path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("name", ["rows.npy", "named.npz", "named.tsv", "named.csv", "lists.jsonl", "objects.json"])
def test_every_format_gives_the_same_logits_in_the_tasks_order(tmp_path, name):
    path = written(tmp_path, name)
    found = read_soft_labels(path, "logits", TASK)
    np.testing.assert_allclose(found.logits(ROWS), LOGITS, rtol=1e-6)
    assert found.named == (name not in ("rows.npy", "lists.jsonl"))
    if name != "rows.npy":
        keyed = read_soft_labels(path, "logits", TASK, "key")
        assert keyed.places(iter("bab")).tolist() == [1, 0, 1]


def test_probabilities_become_logits_of_the_same_distribution(tmp_path):
    (tmp_path / "p.csv").write_text(table(",", [f"proba_{label}" for label in TASK.labels], SHARES.round(6)))
    logits = read_soft_labels(tmp_path / "p.csv", "probabilities", TASK).logits(ROWS)
    np.testing.assert_allclose(np.exp(logits), SHARES, atol=1e-5)
    moods = replace(TASK, kind=KINDS["multi_label"])
    np.save(tmp_path / "m.npy", np.array([[0.0, 1.0, 0.3], [0.9, 0.8, 0.7]]))
    logits = read_soft_labels(tmp_path / "m.npy", "probabilities", moods).logits(ROWS)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), [[0, 1, 0.3], [0.9, 0.8, 0.7]], atol=1e-6)


def test_scores_of_a_regression_are_read_from_every_format(tmp_path):
    np.save(tmp_path / "s.npy", np.array([0.5, 4.0]))
    (tmp_path / "s.tsv").write_text("id\tscore\nx\t0.5\ny\t4\n")
    (tmp_path / "s.jsonl").write_text('{"score": 0.5}\n{"logits": 4.0}\n')
    for name in ("s.npy", "s.tsv", "s.jsonl"):
        assert read_soft_labels(tmp_path / name, "logits", SCORES).logits(ROWS).tolist() == [[0.5], [4.0]]


def test_teacher_labels_give_the_order_of_unnamed_columns(tmp_path):
    np.save(tmp_path / "a.npy", LOGITS[:, [2, 0, 1]])
    found = read_soft_labels(tmp_path / "a.npy", "logits", TASK)
    np.testing.assert_array_equal(found.with_labels(("maybe", "no", "yes")).logits(ROWS), LOGITS)
    with pytest.raises(UserError, match="found the labels a, b, c, expected those of MNLI: no, yes, maybe"):
        found.with_labels(("a", "b", "c"))
    with pytest.raises(UserError, match="names its labels itself"):
        read_soft_labels(written(tmp_path, "named.npz"), "logits", TASK).with_labels(TASK.labels)


def text(content: str):
    return lambda path: path.write_text(content)


def saved(values: np.ndarray):
    return lambda path: np.save(path, values)


BAD = {
    "nan.npy": ("logits", saved(np.array([[0, 1, 2], [np.nan, 1, 2]])), "found nan, 1, 2 in row 1 .*\nexpected finite numbers"),
    "large.npy": ("logits", saved(np.array([[0, 1, 1e300]])), "expected finite numbers"),
    "sums.npy": ("probabilities", saved(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.2]])), "in row 1 .*\nexpected .* sum to 1 within 0.01"),
    "percent.npy": ("probabilities", saved(np.array([[50.0, 25.0, 25.0]])), "expected probabilities from 0 to 1"),
    "shares.npy": ("logits", saved(SHARES), "expected logits\ngive probabilities with --teacher_probabilities"),
    "width.npy": ("logits", saved(LOGITS[:, :2]), r"float32, 2 x 2\nexpected numbers, rows x 3, for 3 labels \(no, yes, maybe\)"),
    "words.npy": ("logits", saved(np.array(["a", "b"])), "expected numbers"),
    "objects.npy": ("logits", saved(np.array([{}, {}])), "found no readable NumPy file"),
    "text.npy": ("logits", text("no array"), "found no readable NumPy file"),
    "none.npz": ("logits", lambda path: np.savez(path, values=LOGITS), "found the arrays 'values', expected 'logits'"),
    "labels.npz": (
        "logits",
        lambda path: np.savez(path, logits=LOGITS, labels=["no", "yes", "x"]),
        "found the labels no, yes, x, expected",
    ),
    "ids.npz": ("logits", lambda path: np.savez(path, logits=LOGITS, ids=["a"]), "found 1 ids for 2 rows"),
    "columns.tsv": ("logits", text("a\tb\tc\n1\t2\t3\n"), "line 1: found the columns a, b, c, expected one column for each label: no, yes"),
    "twice.tsv": ("logits", text("no\tyes\tyes\n1\t2\t3\n"), "found two columns of the same name"),
    "short.tsv": ("logits", text("no\tyes\tmaybe\n1\t2\n"), "line 2: found 2 columns, expected 3"),
    "blank.tsv": ("logits", text("no\tyes\tmaybe\n\n1\t2\t3\n"), "line 2: found a blank line"),
    "number.csv": ("logits", text("no,yes,maybe\n1,x,2\n"), "line 2: found 'x', expected a number"),
    "empty.csv": ("logits", text("no,yes,maybe\n"), "has no rows"),
    "list.jsonl": ("logits", text('{"logits": [1, 2]}\n'), "line 1: found 2 numbers, expected 3"),
    "key.jsonl": ("logits", text('{"no": 1, "yes": 2, "maybe": 0}\n{"no": 1}\n'), "line 2: found the keys no, expected the key 'yes'"),
    "true.jsonl": ("logits", text('{"logits": [1, true, 2]}\n'), "found True, expected a number"),
    "rows.pt": ("logits", text("x"), "the suffix '.pt' is not known\nexpected .npy, .npz, .tsv"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_content_is_refused_with_what_was_expected(tmp_path, name):
    content, write, message = BAD[name]
    write(tmp_path / name)
    with pytest.raises(UserError, match=message):
        read_soft_labels(tmp_path / name, content, TASK)


def test_file_that_cannot_belong_to_the_task_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", LOGITS)
    with pytest.raises(UserError, match="does not exist\nexpected a file of logits"):
        read_soft_labels(tmp_path / "b.npy", "logits", TASK)
    with pytest.raises(UserError, match="regression has scores\ngive them with --teacher_logits"):
        read_soft_labels(tmp_path / "a.npy", "probabilities", SCORES)
    with pytest.raises(UserError, match="several outputs per row"):
        read_soft_labels(tmp_path / "a.npy", "logits", replace(TASK, kind=KINDS["token_classification"]))
    with pytest.raises(UserError, match="has no ids, but --id_column key was given"):
        read_soft_labels(tmp_path / "a.npy", "logits", TASK, "key")


@pytest.mark.parametrize("name", ["rows.npy", "named.npz", "named.tsv", "lists.jsonl"])
def test_damaged_file_is_read_or_refused(tmp_path, name):
    whole, random = written(tmp_path, name).read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        content = bytearray(whole)
        for place in random.integers(len(whole), size=3):
            content[place] = random.integers(256)
        (tmp_path / name).write_bytes(bytes(content[: random.integers(1, len(whole))] if random.integers(3) == 0 else content))
        try:
            assert np.isfinite(read_soft_labels(tmp_path / name, "logits", TASK).values).all()
        except UserError:
            refused += 1
    assert refused > 10


def test_missing_and_repeated_ids_are_named():
    found = SoftLabels(Path("f.tsv"), "logits", TASK, LOGITS, ids=["a", "b"])
    with pytest.raises(UserError, match="found no row for 2 of 3 training rows, such as the id 'c'"):
        found.places("acd")
    with pytest.raises(UserError, match="found the id 'a' twice"):
        replace(found, ids=["a", "a"]).places("a")
