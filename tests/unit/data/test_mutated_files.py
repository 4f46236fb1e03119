"""Readers return what the standard library wrote, and read or refuse any bytes without crashing."""

import csv
import io
import json
import random
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.readers import read_split
from tinybert.data.tasks import Split, Task
from tinybert.errors import UserError

NAMES = ("id", "text", "other", "label")
quick = settings(max_examples=150, deadline=None, database=None, derandomize=True)
# csv accepts NUL since Python 3.11
in_csv = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
in_json = st.text(max_size=30)
in_tsv = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), max_size=30)

marks = st.sampled_from(["", "\ufeff"])


def rows_of(text):
    """A few rows of two texts."""
    return st.lists(st.tuples(text, text), min_size=1, max_size=5)


def split_of(form, quoted=False, **more):
    """All columns by name."""
    return Split(f"rows.{form}", "text", "other", **{"label": "label", "index": "id", "format": form, "quoted": quoted, **more})


def read(content, split):
    """The rows of these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / split.file).write_bytes(content)
        return read_split(Task("own", "own", ("no", "yes"), {"train": split}), folder, "train")


def assert_same(rows, content, split):
    """Every field is returned unchanged, in order."""
    examples = read(content, split)
    assert list(zip(examples.text_a, examples.text_b, strict=True)) == rows
    assert examples.labels.tolist() == [i % 2 for i in range(len(rows))] and examples.ids == [str(i) for i in range(len(rows))]


def table(rows):
    """With header, number and label."""
    return [NAMES, *((str(i), a, b, ("no", "yes")[i % 2]) for i, (a, b) in enumerate(rows))]


def objects(rows):
    """The same as JSON."""
    return [dict(zip(NAMES, row, strict=True)) for row in table(rows)[1:]]


@quick
@given(rows_of(in_tsv), st.sampled_from(["\n", "\r\n"]), marks)
def test_plain_tsv_round_trips(rows, end, mark):
    content = mark + "".join("\t".join(row) + end for row in table(rows))
    assert_same(rows, content.encode(), split_of("tsv"))


@quick
@given(
    rows_of(in_csv), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["csv", "tsv"]), st.sampled_from(["", "\ufeff"])
)
def test_quoted_csv_round_trips(rows, quoting, form, mark):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter="," if form == "csv" else "\t", quoting=quoting).writerows(table(rows))
    assert_same(rows, (mark + out.getvalue()).encode(), split_of(form, quoted=True))


@quick
@given(rows_of(in_json), st.booleans(), marks)
def test_json_lines_round_trip(rows, ascii_only, mark):
    content = mark + "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in objects(rows))
    assert_same(rows, content.encode(), split_of("jsonl"))


@quick
@given(rows_of(in_json), st.booleans(), st.sampled_from([None, 2]))
def test_json_array_round_trips(rows, ascii_only, indent):
    assert_same(rows, json.dumps(objects(rows), ensure_ascii=ascii_only, indent=indent).encode(), split_of("json"))


# === Any bytes ===

JSON_ROWS = ('{"id": 0, "text": "good \\u00e9", "other": "a", "label": "yes"}', '{"id": 1, "text": "\u5b57", "other": "b", "label": "no"}')
WELL_FORMED = {
    "tsv": 'id\ttext\tother\tlabel\n0\tgood "film"\ta\tyes\n1\t\u5b57\u7b26\tb\tno\n'.encode(),
    "csv": 'id,text,other,label\r\n0,"good, ""film""\r\n",a,yes\r\n1,\u5b57\u7b26,b,no\r\n'.encode(),
    "jsonl": "\n".join(JSON_ROWS).encode(),
    "json": f"[{JSON_ROWS[0]},\n{JSON_ROWS[1]}]".encode(),
}
PIECES = [
    *(bytes([byte]) for byte in b'\0\t\n\r ",:[]{}\\x\xff\xc3\xed\xef'), b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"null", b"1e999",
    b"-", b"NaN", b'""', b"\r\n", b"label", b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, "\u2028".encode(), b"\x1c", b"\x85",
    b"\xff\xfe", b"\xfe\xff\0", b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08", b"a\0b\0c\0d\0", "\u200b".encode(), "\uff11".encode(),
]  # fmt: skip


def mutated(content, random):
    """The bytes after a few deletions, repetitions, insertions and replacements."""
    for _ in range(random.randint(1, 4)):
        at, end = sorted(random.randint(0, len(content)) for _ in range(2))
        content = random.choice(
            [
                content[:at] + content[end:],
                content[:at] + random.choice(PIECES) + content[at:],
                content[:at] + random.choice(PIECES) + content[at + 1 :],
                content[:end] + content[at:],
                content[:at] + bytes([random.randrange(256)]) + content[at + 1 :],
            ]
        )
    return content


def survive(form, count, seed):
    """Read `count` mutants as a task's file and as a custom file; returns how many yielded rows."""
    source, fine = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{form}"
        for _ in range(count):
            path.write_bytes(mutated(WELL_FORMED[form], source))
            quoted = form == "csv" or source.random() < 0.3
            # anything but a UserError fails the test
            with suppress(UserError):
                fine += bool(len(read_split(Task("own", "own", ("no", "yes"), {"train": split_of(form, quoted)}), folder, "train")))
            with suppress(UserError):
                named = form in ("json", "jsonl") or source.random() < 0.7
                columns = ("text", None, "label") if named else ("1", None, "3")
                given_format, score = source.choice([None, form]), source.random() < 0.2
                files = CustomFiles(
                    path, path, path, given_format, *columns, header=None if named else False, kind="regression" if score else None
                )
                task = custom_task("own", files)
                for split in ("train", "dev", "test"):
                    read_split(task, "", split)
    return fine


@pytest.mark.parametrize("form", WELL_FORMED)
def test_mutated_files_are_read_or_refused(form):
    assert 20 < survive(form, 1000, seed=1) < 980


@pytest.mark.long
@pytest.mark.parametrize("form", WELL_FORMED)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_mutated_files_are_read_or_refused(form, seed):
    survive(form, 25_000, seed)


@quick
@given(st.binary(max_size=200), st.sampled_from(list(WELL_FORMED)))
def test_random_bytes_are_read_or_refused(content, form):
    with suppress(UserError):
        read(content, split_of(form, quoted=form == "csv"))
