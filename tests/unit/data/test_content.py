"""Files whose content does not match their name or options are identified, with advice."""

import gzip
import zipfile

import pytest

from tinybert.data.content import detect_format
from tinybert.data.custom_files import CustomFiles, custom_task
from tinybert.data.places import locate
from tinybert.data.readers import read_split
from tinybert.data.tasks import Split, Task, get_task
from tinybert.errors import UserError

ROWS = "text\tlabel\ngood\tyes\nbad\tno\n"
NAMED = {"text_a_column": "text", "label_column": "label"}


def read(path, **more):
    """The rows of a custom file."""
    return read_split(custom_task("own", CustomFiles(train_file=path, **{**NAMED, **more})), "", "train")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl", "json"])
def test_other_encodings_are_reported_with_the_command_to_convert_them(tmp_path, encoding, suffix):
    (tmp_path / f"rows.{suffix}").write_bytes(ROWS.encode(encoding))
    with pytest.raises(UserError, match=rf"rows\.{suffix}, line 1: found UTF-(16|32) text, expected UTF-8 text. .*iconv -f UTF-(16|32)"):
        read(tmp_path / f"rows.{suffix}")


BINARY = [
    (b"PAR1 and more", "a Parquet file"), (gzip.compress(ROWS.encode()), "gunzip rows.tsv"), (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"), (b"%PDF-1.7", "a PDF"), (b"SQLite format 3\0", "SQLite"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), BINARY, ids=[words for _, words in BINARY])
def test_files_that_are_not_text_are_identified(tmp_path, content, words):
    (tmp_path / "rows.tsv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read(tmp_path / "rows.tsv")


def test_plain_text_is_not_mistaken_for_another_format():
    for text in ("a\tb\n", "\ufeffa\tb\n", "", "a", "字符\t1\n", '{"a": 1}', "PK\tb\n", "id,text\n", "BZ\n"):
        assert detect_format(text.encode()) is None


@pytest.mark.parametrize(
    ("name", "first", "words"),
    [
        ("rows.csv", "text\tlabel", "has tabs between the fields. Add --file_format tsv"),
        ("rows.csv", "text;label", "has semicolons between the fields. Save it with tabs or commas"),
        ("rows.tsv", "text,label", "has commas between the fields. Add --file_format csv"),
        ("rows.tsv", "text|label", "has vertical bars between the fields"),
        ("rows.tsv", '{"text": "good", "label": "yes"}', "looks like JSON: add --file_format jsonl"),
    ],
)
@pytest.mark.parametrize("columns", [NAMED, {"text_a_column": "0", "label_column": "1"}, {"text_a_column": "0", "label_column": None}])
def test_unexpected_delimiter_is_identified(tmp_path, name, first, words, columns):
    (tmp_path / name).write_text(f"{first}\n" + first.replace("text", "good").replace("label", "yes") + "\n")
    if columns["label_column"] is None:
        split = Split(name, 0, format=name[-3:])
        with pytest.raises(UserError, match=words):
            read_split(Task("own", "own", ("no", "yes"), {"test": split}), tmp_path, "test")
    else:
        with pytest.raises(UserError, match=words):
            read(tmp_path / name, **columns)


def test_commas_in_a_single_column_are_text(tmp_path):
    (tmp_path / "new.tsv").write_text("text\na, b; c\n")
    assert read_split(Task("own", "own", ("a", "b"), {"test": Split("new.tsv", "text")}), tmp_path, "test").text_a == ["a, b; c"]


def test_folder_in_place_of_a_file_and_the_reverse_are_reported(tmp_path):
    (tmp_path / "train.tsv").mkdir()
    with pytest.raises(UserError, match="train.tsv is a folder; expected a file of rows"):
        read(tmp_path / "train.tsv")
    with pytest.raises(UserError, match="train.tsv is a folder, expected the file of the train rows"):
        read_split(get_task("SST-2"), tmp_path, "train")
    (tmp_path / "data").write_text("")
    with pytest.raises(UserError, match="data is a file, expected a folder"):
        locate(get_task("SST-2"), data_dir=tmp_path / "data")


# === Tables of other programs ===


def test_parquet_rows_are_read_like_text_rows(tmp_path):
    table, parquet = (pytest.importorskip(name, reason="pyarrow is not installed") for name in ("pyarrow", "pyarrow.parquet"))
    columns = {"text": ["good", "", "字符"], "label": [1, 0, 1], "score": [0.5, 1.0, 2.0], "flag": [True, False, True]}
    parquet.write_table(table.table(columns), tmp_path / "rows.parquet")
    found = read(tmp_path / "rows.parquet")
    assert (found.text_a, found.labels.tolist()) == (["good", "", "字符"], [1, 0, 1])
    assert read(tmp_path / "rows.parquet", label_column="score", kind="regression").labels.tolist() == [0.5, 1.0, 2.0]
    assert custom_task("own", CustomFiles(train_file=tmp_path / "rows.parquet", **{**NAMED, "label_column": "flag"},
                                       allow_suspicious_labels=True)).labels == ("false", "true")  # fmt: skip
    with pytest.raises(UserError, match="has the keys text, label, score, flag|the key 'none'"):
        read(tmp_path / "rows.parquet", label_column="none")


def test_missing_parquet_value_is_reported_with_its_row(tmp_path):
    table, parquet = (pytest.importorskip(name, reason="pyarrow is not installed") for name in ("pyarrow", "pyarrow.parquet"))
    parquet.write_table(table.table({"text": ["a", None], "label": [1, 0]}), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="line 2: found null under 'text'"):
        read(tmp_path / "rows.parquet")


def test_workbook_is_read_like_a_text_file(tmp_path):
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (["text", "label", None], ["good", 1, None], [None, 0, None], ["bad", 1, None], [None, None, None]):
        book.active.append(row)
    book.create_sheet("empty")
    book.save(tmp_path / "rows.xlsx")
    found = read(tmp_path / "rows.xlsx")
    assert (found.text_a, found.labels.tolist()) == (["good", "", "bad"], [1, 0, 1])
    book.worksheets[1].append(["more"])
    book.save(tmp_path / "rows.xlsx")
    with pytest.raises(UserError, match="found 2 sheets with rows"):
        read(tmp_path / "rows.xlsx")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.xlsx"])
@pytest.mark.parametrize("content", [b"PAR1" + b"\0" * 50 + b"PAR1", b"PK\x03\x04" + b"\0" * 50, b"", b"text\tlabel\n"])
def test_damaged_table_is_refused_with_a_message(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="found no readable|is empty|is not installed"):
        read(tmp_path / name)


def test_zip_archive_that_is_not_a_workbook_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "rows.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<a>" * 1000)
    with pytest.raises(UserError, match="found no readable|is not installed"):
        read(tmp_path / "rows.xlsx")


@pytest.mark.parametrize(("name", "package"), [("rows.parquet", "pyarrow"), ("rows.xlsx", "openpyxl")])
def test_missing_table_package_is_reported_with_a_way_to_csv(tmp_path, monkeypatch, name, package):
    import sys

    for module in (package, f"{package}.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"PAR1")
    with pytest.raises(UserError, match=rf"pip install {package}.*to_csv"):
        read(tmp_path / name)
