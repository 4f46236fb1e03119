"""Files are read as published; errors name the file and line."""

import numpy as np
import pytest

from tinybert.data.readers import iter_rows, read_split
from tinybert.data.tasks import Split, Task, get_task
from tinybert.errors import UserError

SST, COLA, STS, MNLI, QQP, MRPC = (get_task(name) for name in ("sst-2", "cola", "sts-b", "mnli", "qqp", "mrpc"))


def written(folder, file, text):
    """Write a data file; text or bytes."""
    (folder / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


# === The real files ===

# task, split, rows, first label, a substring of the first row's text_a, of its text_b
REAL = [
    ("CoLA", "train", 8551, 1, "Our friends won't buy", None),
    ("CoLA", "dev", 1043, 1, "The sailors rode", None),
    ("CoLA", "test", 1063, None, "Bill whistled past", None),
    ("SST-2", "train", 67349, 0, "hide new secretions", None),
    ("SST-2", "dev", 872, 1, "it 's a charming", None),
    ("SST-2", "test", 1821, None, "uneasy mishmash", None),
    ("MRPC", "train", 3668, 1, "Amrozi accused", 'Referring to him as only " the witness "'),
    ("MRPC", "dev", 408, 1, "He said the foodservice", '" The foodservice pie'),
    ("MRPC", "test", 1725, None, "PCCW 's chief", "Current Chief"),
    ("STS-B", "train", 5749, 5.0, "A plane is taking off.", "An air plane"),
    ("STS-B", "dev", 1500, 5.0, "A man with a hard hat", "A man wearing"),
    ("STS-B", "test", 1379, None, "A girl is styling", "A girl is brushing"),
    ("MNLI", "train", 8999, 1, "Our hearts are", "We are especially sad"),
    ("MNLI", "dev_matched", 1000, 1, "In Temple Bar", "There is a bookshop"),
    ("MNLI", "dev_mismatched", 1000, 1, "You ca n't take it", "You are not able"),
    ("QNLI", "train", 9999, 1, "What sector has expanded", "The IT sector"),
    ("QNLI", "dev", 5463, 0, "What came into force", "As of that day"),
    ("RTE", "train", 2490, 1, "No Weapons", "Weapons of Mass"),
    ("RTE", "test", 3000, None, "Mangla was summoned", "Shukla is related"),
    ("WNLI", "train", 635, 1, "I stuck a pin", "The carrot had a hole."),
    ("WNLI", "dev", 71, 0, "The drain is clogged", "The hair has"),
]


@pytest.mark.parametrize(("name", "split", "rows", "label", "text_a", "text_b"), REAL)
def test_official_files_give_the_official_rows_and_columns(real_data, name, split, rows, label, text_a, text_b):
    task = get_task(name)
    folder = real_data / "Glue" / task.folder
    if not (folder / task.splits[split].file).is_file():
        pytest.skip(f"no {name} {split} here")
    examples = read_split(task, folder, split)
    assert len(examples) == rows
    assert examples.text_a[0].startswith(text_a)
    assert (examples.text_b is None) == (text_b is None) and (text_b is None or examples.text_b[0].startswith(text_b))
    if label is None:
        assert examples.labels is None and examples.ids[:2] == ["0", "1"]
    else:
        assert examples.labels[0] == label and len(examples.labels) == rows
        assert examples.labels.dtype == (np.float32 if task.kind.name == "regression" else np.int64)


def test_quotes_in_sts_b_are_text(real_data):
    if not (real_data / "Glue" / "STS-B").is_dir():
        pytest.skip("no STS-B here")
    examples = read_split(STS, real_data / "Glue" / "STS-B", "train")
    assert any(text.startswith('"') for text in examples.text_a)
    assert examples.labels.min() >= 0 and examples.labels.max() == 5


# === What is accepted ===


def test_bom_line_endings_and_missing_final_newline_are_ignored(folder):
    plain = read_split(SST, written(folder, "train.tsv", "sentence\tlabel\ngood film\t1\nbad\t0\n"), "train")
    odd = read_split(SST, written(folder, "train.tsv", "\ufeffsentence\tlabel\r\ngood film\t1\r\nbad\t0"), "train")
    assert odd.text_a == plain.text_a == ["good film", "bad"]
    assert odd.labels.tolist() == plain.labels.tolist() == [1, 0]
    assert odd.sha256 != plain.sha256


def test_bom_is_removed_from_the_first_field_without_a_header(folder):
    task = Task("own", "own", ("yes", "no"), {"train": Split("train.tsv", 1, label=0, header=False)})
    examples = read_split(task, written(folder, "train.tsv", "\ufeffno\ta\nyes\tb\n"), "train")
    assert examples.labels.tolist() == [1, 0] and examples.text_a == ["a", "b"]


def test_quotes_and_unicode_line_separators_stay_inside_a_row(folder):
    texts = ['"quoted ""twice"""', '"open', "line\u2028separator\x85\x0b\x0c\x1c"]
    body = "".join(f"{text}\t1\n" for text in texts)
    assert read_split(SST, written(folder, "train_aug.tsv", "sentence\tlabel\n" + body), "train_aug").text_a == texts


def test_file_with_a_single_class_is_read(folder):
    assert read_split(SST, written(folder, "train.tsv", "s\tl\na\t1\nb\t1\n"), "train").labels.tolist() == [1, 1]


def test_broken_qqp_rows_are_skipped_and_counted(folder, capsys):
    text = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\ta\tb\t1\n4\t5\t6\tcut\n7\t8\t9\tc\td\t0\n"
    examples = read_split(QQP, written(folder, "train.tsv", text), "train")
    assert examples.text_a == ["a", "c"] and examples.labels.tolist() == [1, 0]
    assert "1 rows with too few columns" in capsys.readouterr().err


def test_own_task_may_have_any_number_of_labels(folder):
    labels = tuple(f"topic {i}" for i in range(119))
    task = Task("topics", "topics", labels, {"train": Split("train.tsv", 1, label=0, header=False)})
    text = "".join(f"{label}\ttext\n" for label in labels)
    assert read_split(task, written(folder, "train.tsv", text), "train").labels.tolist() == list(range(119))


def test_rows_are_read_in_chunks(folder):
    written(folder, "train.tsv", "s\tl\n" + "".join(f"text {i}\t{i % 2}\n" for i in range(10)))
    chunks = list(iter_rows(SST, folder, "train", chunk_rows=4))
    assert [len(chunk.text_a) for chunk in chunks] == [4, 4, 2]
    assert [text for chunk in chunks for text in chunk.text_a] == [f"text {i}" for i in range(10)]
    assert chunks[-1].bytes_read == (folder / "train.tsv").stat().st_size


# === What is rejected ===

HEADER = "sentence\tlabel\n"
NLI_HEADER = "\t".join(f"c{i}" for i in range(12)) + "\n"
BAD = [
    (SST, "", ["no rows"]),
    (SST, HEADER, ["no rows below its header"]),
    (SST, "good\t1\nbad\t0\n", ["line 1", "label '1'", "Add a header"]),
    (SST, HEADER + "good\t1\nbad\n", ["line 3", "1 columns", "expected 2"]),
    (SST, HEADER + "good\tfilm\t1\n", ["line 2", "3 columns", "expected 2", "tab"]),
    (SST, HEADER + "good\t1\n\nbad\t0\n", ["line 3", "blank line"]),
    (SST, HEADER + "good\tpositive\n", ["line 2", "'positive' in column 2", "one of 0, 1"]),
    (SST, HEADER.encode() + b"good\t1\nna\xefve\t0\n", ["line 3", "0xef", "UTF-8"]),
    (SST, (HEADER + "good\t1\n").encode("utf-16"), ["line 1", "UTF-8"]),
    (
        MNLI,
        NLI_HEADER + "\t".join(["x"] * 11) + "\tentailement\n",
        ["'entailement'", "contradiction, entailment, neutral"],
    ),
    (STS, "\t".join("abcdefghij") + "\n" + "\t".join("abcdefghi") + "\tfive\n", ["line 2", "'five'", "finite number"]),
    (STS, "\t".join("abcdefghij") + "\n" + "\t".join("abcdefghi") + "\tnan\n", ["'nan'", "finite number"]),
    (STS, "\t".join("abcdefghij") + "\n" + "\t".join("abcdefghi") + "\t\n", ["line 2", "''"]),
    (COLA, HEADER + "good\t1\n", ["line 1", "2 columns", "at least 4"]),
    (COLA, "source\tlabel\t\tsentence\n", ["line 1", "'label'"]),
    (MRPC, "Quality\t#1 ID\n", ["line 1", "at least 5 columns"]),
]


@pytest.mark.parametrize(("task", "text", "parts"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_malformed_content_is_reported_with_file_line_and_remedy(folder, task, text, parts):
    written(folder, "train.tsv", text)
    with pytest.raises(UserError) as error:
        read_split(task, folder, "train")
    for part in (str(folder / "train.tsv"), *parts):
        assert part in str(error.value)


def test_missing_file_is_reported_with_the_folders_contents(folder):
    written(folder, "dev.tsv", "x")
    with pytest.raises(UserError, match=r"train\.tsv does not exist \(in that folder: dev\.tsv\)"):
        read_split(SST, folder, "train")
