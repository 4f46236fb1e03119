"""CSV, JSON lines and JSON arrays are read as the standard library writes them; errors name the file and line."""

import csv
import json
from dataclasses import replace

import pytest

from tinybert.data import formats
from tinybert.data.formats import format_of
from tinybert.data.readers import iter_rows, read_split
from tinybert.data.tasks import Split, Task
from tinybert.errors import UserError
from tinybert.kinds.registry import KINDS


def a_task(**more):
    """Two labels, columns by name."""
    suffix = more.get("format", "csv")
    split = Split(f"train.{suffix}", **{"text_a": "text", "label": "label", "format": "csv", "quoted": True, **more})
    return Task("own", "own", ("no", "yes"), {"train": split, "test": replace(split, label=None)})


def read(folder, content, task=None, split="train"):
    """The rows of a file with this content."""
    task = task or a_task()
    (folder / task.splits["train"].file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_split(task, folder, split)


JSONL = a_task(format="jsonl")
ARRAY = a_task(format="json")


# === What is accepted ===


def test_quoted_field_may_contain_line_breaks(folder):
    text = 'a, "quoted"\r\nsecond line\n\nafter a blank one\ttab'
    with open(folder / "train.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["label", "text"], ["yes", text], ["no", ""]])
    examples = read_split(a_task(), folder, "train")
    assert examples.text_a == [text, ""] and examples.labels.tolist() == [1, 0]


def test_byte_order_mark_and_crlf_are_ignored(folder):
    plain = read(folder, "text,label\ngood,yes\n")
    odd = read(folder, "\ufefftext,label\r\ngood,yes\r\n")
    assert odd.text_a == plain.text_a == ["good"] and odd.labels.tolist() == [1]


def test_empty_rows_at_the_end_are_skipped(folder):
    assert len(read(folder, "text,label\ngood,yes\n,\n,\n\n")) == 1


def test_quotes_are_text_unless_quoting_is_on(folder):
    tsv = a_task(format="tsv", quoted=False)
    assert read(folder, 'label\ttext\nyes\t"open\nno\t"both"\n', tsv).text_a == ['"open', '"both"']
    assert read(folder, 'label\ttext\nyes\t"one\ttwo"\n', a_task(format="tsv")).text_a == ["one\ttwo"]
    assert read(folder, 'label,text\nyes,"open\n', a_task(quoted=False)).text_a == ['"open']


def test_long_document_fits_in_one_field(folder):
    long = "word " * 60_000  # the csv module alone stops at 131,072 characters
    assert read(folder, f"text,label\n{long},yes\n").text_a == [long]


def test_json_labels_keep_their_written_form(folder):
    task = replace(JSONL, labels=("1", "1.0", "1e0", "true", "false", "x"))
    rows = [f'{{"text": "a", "label": {label}}}' for label in ('"1"', "1", "1.0", "1e0", "true", '"true"', "false", '" x "')]
    assert read(folder, "\n".join(rows), task).labels.tolist() == [0, 0, 1, 2, 3, 3, 4, 5]


def test_numbers_of_any_length_are_text(folder):
    assert read(folder, f'{{"text": {"9" * 5000}, "label": "yes"}}', JSONL).text_a == ["9" * 5000]


def test_rows_without_ids_are_numbered_across_chunks(folder):
    task = a_task()
    (folder / "train.csv").write_text("text\n" + "a\n" * 5)
    assert [i for chunk in iter_rows(task, folder, "test", chunk_rows=2) for i in chunk.ids] == ["0", "1", "2", "3", "4"]
    assert read_split(task, folder, "test").ids == ["0", "1", "2", "3", "4"]


def test_empty_text_to_predict_is_a_row(folder):
    task = a_task(text_b="other", format="tsv", quoted=False)
    assert read(folder, "text\tother\na\tb\n\t\nc\td\n", task, "test").text_a == ["a", "", "c"]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("block", [1, 7, 1 << 16])
def test_json_array_reads_the_same_at_any_block_size(folder, monkeypatch, indent, block):
    monkeypatch.setattr("tinybert.data.source.BLOCK", block)
    texts = ['brackets ]}[{ "quoted" \\', "字符 😀 \u2028", "", "x" * 300]
    rows = [{"label": "yes", "more": {"deep": [1, 2, {}]}, "text": text} for text in texts]
    for ascii_only in (True, False):
        body = "\n " + json.dumps(rows, indent=indent, ensure_ascii=ascii_only) + " \r\n"
        assert read(folder, "\ufeff" + body, ARRAY).text_a == texts


def test_large_json_array_is_read_in_bounded_memory(folder, monkeypatch):
    monkeypatch.setattr("tinybert.data.source.BLOCK", 64)
    rows = [{"text": f"row {i}", "label": "no"} for i in range(200)]
    held = []
    drop = formats._Array._drop
    monkeypatch.setattr(formats._Array, "_drop", lambda array, count: (held.append(len(array.held)), drop(array, count)))
    assert len(read(folder, json.dumps(rows), ARRAY)) == 200
    assert max(held) <= 256


def test_json_arrays_and_json_lines_are_distinguished(tmp_path):
    for text, form in (("[", "json"), ("\ufeff \n[{}]", "json"), ('{"a": 1}', "jsonl"), ("", "jsonl")):
        (tmp_path / "rows.json").write_text(text, encoding="utf-8")
        assert format_of(tmp_path / "rows.json") == form
    assert [format_of(tmp_path / name) for name in ("a.TSV", "a.txt", "a.csv", "a.jsonl", "a.ndjson")] == [
        "tsv", "tsv", "csv", "jsonl", "jsonl",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"(?s)'\.docx' is not a known format.*--file_format"):
        format_of(tmp_path / "a.docx")


# === What is rejected ===

BAD = [
    (a_task(), 'text,label\n"good,yes\nbad,no\n', ["line 2", "unexpected end of data", "double quote"]),
    (a_task(), 'text,label\n"a"b,yes\n', ["line 2", "--quoting none"]),
    (a_task(), "text,label\na,b,yes\n", ["line 2", "3 columns", "double quotes"]),
    (a_task(), 'text,label\n"1\n2",yes\nbad\n', ["line 4", "1 columns", "expected 2"]),
    (a_task(), "text,label\rgood,yes\rbad,no\r", ["line 1"]),
    (a_task(), "text,text,label\na,b,yes\n", ["line 1", "'text', 'text', 'label'", "one column 'text'"]),
    (a_task(), "sentence,label\na,yes\n", ["line 1", "'sentence'", "one column 'text'"]),
    (a_task(), "text,label\ngood,maybe\n", ["line 2", "'maybe' in column 'label'", "no, yes"]),
    (a_task(), "text,label\n", ["no rows below its header"]),
    (a_task(label=1, text_a=0), "good,yes\nbad,no\n", ["line 1", "label 'yes'", "header"]),
    (JSONL, '{"text": "a", "label": "yes"}\n{"text": "b"}\n', ["line 2", "'text'", "the key 'label'"]),
    (JSONL, '{"text": null, "label": "yes"}', ["line 1", "null under 'text'"]),
    (JSONL, '{"text": ["a"], "label": "yes"}', ["line 1", "a list under 'text'"]),
    (JSONL, '{"text": "\\ud83d", "label": "yes"}', ["line 1", "surrogate"]),
    (JSONL, '{"text": "a", "label": "yes"}\n\n{"text": "a", "label": "yes"}\n', ["line 2", "blank line"]),
    (JSONL, '{"text": "a", "label": "yes"', ["line 1", "invalid JSON"]),
    (JSONL, '["a", "yes"]', ["line 1", "a JSON list"]),
    (JSONL, '{"text": ' + "[" * 100_000, ["line 1", "nested too deeply"]),
    (JSONL, b'{"text": "\xff"}', ["line 1", "0xff", "UTF-8"]),
    (JSONL, "", ["no rows. Is"]),
    (ARRAY, '{"text": "a"}', ["line 1", "bracket", "jsonl"]),
    (ARRAY, '[\n{"text": "a", "label": "yes"},\n{"text": "b" "label"}\n]', ["line 3", "invalid JSON"]),
    (ARRAY, '[\n{"text": "a", "label": "yes"},\n\n{"text": "b"}]', ["line 4", "the key 'label'"]),
    (ARRAY, '[{"text": "a", "label": "yes"}', ["the end of the file"]),
    (ARRAY, '[{"text": "a", "label": "yes"},]', ["comma before"]),
    (ARRAY, '[{"text": "a", "label": "yes"}] x', ["after the closing bracket"]),
    (ARRAY, "[1, 2]", ["line 1", "object"]),
    (ARRAY, '[{"text": ' + "[" * 100_000, ["nested too deeply"]),
    (ARRAY, b'[{"text": "a",\n "label": "\xff"}]', ["line 2", "0xff at position 11", "UTF-8"]),
    (ARRAY, "[]", ["no rows"]),
]


@pytest.mark.parametrize(("task", "content", "parts"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_malformed_content_is_reported_with_file_line_and_remedy(folder, task, content, parts):
    with pytest.raises(UserError) as error:
        read(folder, content, task)
    for part in (str(folder / task.splits["train"].file), *parts):
        assert part in str(error.value)


def test_row_that_never_ends_is_refused_before_filling_memory(folder, monkeypatch):
    monkeypatch.setattr("tinybert.data.source.LIMIT", 1000)
    monkeypatch.setattr("tinybert.data.formats.LIMIT", 1000)
    monkeypatch.setattr("tinybert.data.source.BLOCK", 64)
    limit = csv.field_size_limit()
    endless = {"csv": 'text,label\n"' + "abc\n" * 5000, "jsonl": '{"text": "' + "a" * 5000, "json": '[{"text": "' + "a" * 50_000}
    try:
        for form, content in endless.items():
            task = a_task(format=form)
            (folder / f"train.{form}").write_text(content)
            rows = iter_rows(task, folder, "train")
            with pytest.raises(UserError, match=r"train\.\w+, line"):
                next(rows)
    finally:
        csv.field_size_limit(limit)


def test_scores_that_float32_cannot_hold_are_refused(folder):
    task = replace(JSONL, labels=(), kind=KINDS["regression"])
    for label in ("1e300", '"1_0"', "NaN", "Infinity"):
        with pytest.raises(UserError, match="finite number|nan, which is not a number|inf, which is not a number"):
            read(folder, f'{{"text": "a", "label": {label}}}', task)
