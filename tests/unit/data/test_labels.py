"""Labels that look like misspellings of another are refused with rows and remedy, or accepted on request."""

import pytest

from tinybert.config.custom_files import check_custom_files
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.labels import similar_labels
from tinybert.data.readers import read_split
from tinybert.data.tasks import Split, Task
from tinybert.errors import UserError

TWICE = [
    ("0", "0.0"), ("1", "01"), ("1", "1e0"), ("0", "-0"), ("Yes", "yes"),
    ("ja", "\uff4a\uff41"), ("1", "\uff11"), ("caf\u00e9", "cafe\u0301"),
    ("yes", "y\u200bes"), ("yes", "\ufeffyes"), ("not a", "not  a"), ("not_a", "not-a"), ("yes", '"yes"'), ("stra\u00dfe", "STRASSE"),
    ("no", "\u00adno"),
]  # fmt: skip
DIFFERENT = [
    ("0", "1"),
    ("-1", "1"),
    ("1", "10"),
    ("1_0", "10"),
    ("a", "b"),
    ("nan", "0"),
    ("", "0"),
    ("inf", "infinite"),
    ("\u597d", "\u574f"),
]


@pytest.mark.parametrize(("one", "other"), TWICE)
def test_two_spellings_of_a_label_are_alike(one, other):
    assert similar_labels([one, "between", other]) == [[one, other]]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_labels_with_different_meanings_are_not_alike(one, other):
    assert not similar_labels([one, other])


def own(folder, rows, **more):
    """A task of a file with these labels."""
    path = folder / "train.tsv"
    path.write_text("text\tlabel\n" + "".join(f"word\t{label}\n" for label in rows), encoding="utf-8")
    return custom_task("own", CustomFiles(train_file=path, text_a_column="text", label_column="label", **more))


def test_two_spellings_in_a_file_are_refused_with_rows_and_option(tmp_path):
    with pytest.raises(UserError) as error:
        own(tmp_path, ["no", "yes", "Yes", "yes", "no"])
    for part in ("train.tsv", "'yes' (2 rows, first in line 3)", "'Yes' (1 row, first in line 4)", "--allow_suspicious_labels"):
        assert part in str(error.value)
    assert own(tmp_path, ["no", "yes", "Yes", "yes", "no"], allow_suspicious_labels=True).labels == ("Yes", "no", "yes")


def test_identical_looking_labels_are_shown_as_code_points(tmp_path):
    with pytest.raises(UserError, match=r"'caf\\xe9' .*'cafe\\u0301'"):
        own(tmp_path, ["caf\u00e9", "cafe\u0301", "no", "no", "caf\u00e9"])


def test_label_of_a_single_row_is_refused_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"label that occurs in a single row: 'ye' \(line 5\)"):
        own(tmp_path, ["no", "yes", "yes", "ye", "no"])
    assert own(tmp_path, ["no", "yes", "yes", "ye", "no"], allow_suspicious_labels=True).labels == ("no", "ye", "yes")


def test_many_suspicious_labels_give_a_short_message(tmp_path):
    with pytest.raises(UserError, match="and 90 more") as error:
        own(tmp_path, [f"label{i}" for i in range(100)])
    assert len(str(error.value).splitlines()) < 16


def test_two_spellings_in_the_labels_option_are_refused(tmp_path):
    with pytest.raises(UserError, match="'yes', 'YES'"):
        own(tmp_path, ["yes", "yes", "no", "no"], labels="yes,no,YES")


def test_repeated_header_inside_a_file_is_refused(tmp_path):
    for test_rows in (False, True):
        split = Split("rows.tsv", "text", label=None if test_rows else "label")
        (tmp_path / "rows.tsv").write_text("text\tlabel\na\tyes\ntext\tlabel\nb\tno\n")
        with pytest.raises(UserError, match="line 3: found the header again"):
            read_split(Task("own", "own", ("no", "yes"), {"train": split}), tmp_path, "train")


def test_allow_suspicious_labels_needs_own_files():
    class Arguments:
        train_file = dev_file = test_file = file_format = text_a_column = text_b_column = label_column = header = quoting = labels = None
        kind, doc_stride, allow_suspicious_labels = None, None, True
        given = frozenset({"allow_suspicious_labels"})

    with pytest.raises(UserError, match="--allow_suspicious_labels applies only to your own files"):
        check_custom_files(Arguments(), None)
