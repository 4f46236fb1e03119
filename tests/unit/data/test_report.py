"""The data report counts classes, repetitions, dev rows inside train and empty texts, and warns above a share."""

import numpy as np
import pytest

from tinybert.data import report as module
from tinybert.data.report import DataReport, report, row_hashes
from tinybert.data.store import TokenStore
from tinybert.kinds.regression import scale_warning


def store(rows, labels=None, pair=False):
    """Tokens of these rows; [SEP] is 1."""
    first = np.array([row.index(1) + 1 for row in rows])
    made = TokenStore.from_arrays(rows, first=first, labels=None if labels is None else np.asarray(labels))
    made.meta["columns"] = ["a", "b" if pair else None, "label"]
    return made


def numbered(count, start=0):
    """Different rows."""
    return [[0, 10 + i % 50, 10 + i // 50, 1] for i in range(start, start + count)]


def test_row_hashes_are_equal_exactly_when_the_ids_are(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_IDS", 7)
    rows = [[0, 5, 6, 1], [0, 6, 5, 1], [0, 5, 6, 1], [0, 5, 1], [0, 1, 5, 6, 1], [0, 5, 6, 1, 1], [0, 1]]
    hashes = row_hashes(store(rows)).tolist()
    assert len(set(hashes)) == 6 and hashes[0] == hashes[2]


def test_classes_are_listed_with_their_counts():
    (only,) = report({"train": store(numbered(4), [0, 1, 1, 1])}, ("no", "yes"))
    assert only.line == "train: 4 rows; no 1 (25.0%), yes 3 (75.0%), 0 repeated, 0 empty" and not only.warnings


def test_share_of_unknown_tokens_is_reported():
    rows = [[0, 5, 5, 5, 1], [0, 5, 5, 4, 1, 5, 1]]  # 4 is [UNK]; [CLS] and [SEP] do not count
    (train,) = report({"train": store(rows, [0, 1], pair=True)}, ("no", "yes"), unk_id=4)
    assert "14.29% of the tokens unknown" in train.line
    assert any(warning.startswith("14.3% of the tokens of train are unknown ([UNK])") for warning in train.warnings)
    many = store([[0, *[5] * 24, 4, 1]] * 2, [0, 1])
    assert "4.00% of the tokens unknown" in report({"dev": many}, ("no", "yes"), unk_id=4)[0].line
    assert not any("unknown" in warning for warning in report({"dev": many}, ("no", "yes"), unk_id=4)[0].warnings)


def test_class_without_rows_gives_a_warning():
    (only,) = report({"train": store(numbered(3), [0, 2, 2])}, ("a", "b", "c"))
    assert only.warnings == ["no row of train has the label 'b': a model cannot learn it"]


def test_only_the_largest_and_smallest_of_many_classes_are_listed():
    labels = np.repeat(np.arange(30), np.arange(1, 31))
    line = report({"train": store(numbered(len(labels)), labels)}, [f"c{i}" for i in range(30)])[0].line
    assert "c29 30 " in line and "... 20 more classes, the smallest c0 with 1" in line and "c10 " not in line


def test_repeated_and_contradicting_rows_are_counted_and_warned_about():
    rows = numbered(100)
    rows[40:46] = [rows[3]] * 6
    labels = [0] * 100
    labels[44] = 1
    (only,) = report({"train": store(rows, labels)}, ("no", "yes"))
    assert "6 repeated, 7 identical to a row with another label" in only.line
    assert only.warnings == [
        "6 rows (6.0%) of train repeat an earlier row (such as row 41, 42, 43)",
        "7 rows (7.0%) of train are identical to a row with another label (such as row 4, 41, 42)",
    ]


def test_repeated_rows_with_one_label_are_no_contradiction():
    (only,) = report({"train": store([*numbered(50), *numbered(50)], [*range(2)] * 50)}, ("no", "yes"))
    assert "50 repeated, 0 identical to a row with another label" in only.line


def test_augmented_variants_do_not_count_as_repeated():
    (only,) = report({"train_aug": store(numbered(1) * 9, [0] * 9)}, ("no", "yes"))
    assert "repeated" not in only.line


def test_dev_rows_contained_in_train_give_a_warning():
    rows = numbered(100)
    kept = [*rows[97:], *numbered(97, start=200)]
    both = report({"train": store(rows, [0, 1] * 50), "dev": store(kept, [0, 1] * 50)}, ("no", "yes"))
    assert "3 also in the training file" in both[1].line
    assert both[1].warnings[0].startswith("3 rows (3.0%) of dev are also in the training file (such as row 1, 2, 3)")
    assert "0 also in" in report({"train": store(rows, [0] * 100), "dev": store(numbered(5, 300), [0] * 5)}, ("no",))[1].line


def test_dev_alone_is_compared_with_nothing():
    (only,) = report({"dev": store(numbered(3), [0, 1, 0])}, ("no", "yes"))
    assert "training" not in only.line and not only.warnings


def test_empty_texts_are_counted_on_both_sides_of_a_pair():
    pairs = [[0, 5, 1, 6, 1], [0, 1, 6, 1], [0, 5, 1, 1]]
    (only,) = report({"train": store(pairs, [0, 1, 0], pair=True)}, ("no", "yes"))
    assert "2 empty" in only.line and "2 rows (66.7%) of train have an empty text (such as row 2, 3)" in only.warnings


def test_scores_are_described_by_range_and_mean():
    (only,) = report({"train": store(numbered(3), np.array([0, 2.5, 5], np.float32))}, ())
    assert "scores 0 to 5, mean 2.5" in only.line


def test_report_is_printed_once():
    told = DataReport()
    stores = {"train": store(numbered(10) * 2, [0, 1] * 10)}
    assert [len(part) for part in told.lines(stores, ("no", "yes"))] == [1, 1]
    assert told.lines(stores, ("no", "yes")) == ([], [])


@pytest.mark.parametrize(("gold", "teacher", "far"), [
    ([0, 2, 5], [0.1, 2.2, 4.4], False), ([0, 2, 5], [1.0, 2.0, 3.0], False), ([0, 2, 5], [0, 0.02, 0.05], True),
    ([0, 2, 5], [100, 102, 105], True), ([0, 0.5, 1], [0, 50, 100], True), ([3, 3, 3], [3, 3, 3], False),
])  # fmt: skip
def test_gold_scores_far_from_the_teachers_scale_give_a_warning(gold, teacher, far):
    found = scale_warning(np.array(gold, np.float32), np.array(teacher)[:, None])
    assert (found is not None) == far
