"""A token store is built once, opened many times, and rebuilt when damaged."""

import subprocess
import sys

import numpy as np
import pytest

from tests.unit.data.conftest import WORDS
from tinybert.data import store as store_module
from tinybert.data.store import TokenStore
from tinybert.data.tasks import get_task
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

SST, RTE, STS = get_task("sst-2"), get_task("rte"), get_task("sts-b")
ROWS = "sentence\tlabel\n" + "".join(f"{'good ' * (i % 7)}film\t{i % 2}\n" for i in range(50))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def builds(monkeypatch):
    """Count how often a store is actually built."""
    done = []
    original = store_module._build

    def counted(*arguments):
        done.append(arguments[0])
        return original(*arguments)

    monkeypatch.setattr(store_module, "_build", counted)
    return done


def build(folder, word_pieces, task=SST, split="train", length=8):
    return TokenStore.build_or_open(task, folder, split, word_pieces, length)


def test_store_holds_the_rows_labels_and_counts_of_the_file(folder, word_pieces):
    (folder / "train.tsv").write_text(ROWS)
    store = build(folder, word_pieces, length=6)
    good, film = WORDS.index("good"), WORDS.index("film")
    for i in range(50):
        words = ([good] * (i % 7) + [film])[:4]
        assert store.row(i).tolist() == [word_pieces.cls_id, *words, word_pieces.sep_id]
    assert store.labels.tolist() == [i % 2 for i in range(50)] and store.labels.dtype == np.int64
    assert store.first.tolist() == store.lengths.tolist()
    assert store.ids.dtype == np.uint16 and isinstance(store.ids, np.memmap)
    assert store.meta["rows"] == len(store) == 50
    assert store.meta["truncated"] == sum(i % 7 + 1 > 4 for i in range(50))
    assert store.meta["length_histogram"] == np.bincount(store.lengths, minlength=7).tolist()


def test_store_does_not_depend_on_the_chunk_size(folder, word_pieces, monkeypatch):
    (folder / "train.tsv").write_text(ROWS)
    whole = build(folder, word_pieces)
    expected = [np.array(x) for x in (whole.ids, whole.offsets, whole.first, whole.labels)]
    monkeypatch.setattr(store_module, "CHUNK_ROWS", 7)
    monkeypatch.setenv("TINYBERT_CACHE", str(folder.parent / "other"))
    pieces = build(folder, word_pieces)
    for one, other in zip(expected, (pieces.ids, pieces.offsets, pieces.first, pieces.labels), strict=True):
        assert np.array_equal(one, other)


def test_pairs_store_where_the_second_sentence_begins(folder, word_pieces):
    (folder / "train.tsv").write_text("i\ta\tb\tlabel\n0\tgood film\tbad\tnot_entailment\n1\t\tthe the\tentailment\n")
    store = build(folder, word_pieces, RTE)
    assert store.first.tolist() == [4, 2] and store.lengths.tolist() == [6, 5]
    assert store.row(0)[3] == store.row(0)[5] == word_pieces.sep_id
    assert store.labels.tolist() == [1, 0]


def test_scores_stay_floats_and_test_files_have_no_labels(folder, word_pieces):
    header, row = "\t".join("abcdefghij") + "\n", "\t".join("ABCDEFGHI")
    (folder / "train.tsv").write_text(header + row + "\t3.8\n")
    (folder / "test.tsv").write_text(header[:-3] + "\n" + row + "\n")
    assert build(folder, word_pieces, STS).labels.tolist() == [np.float32(3.8)]
    assert build(folder, word_pieces, STS, "test").labels is None


def test_second_run_reuses_the_store(folder, word_pieces, builds):
    (folder / "train.tsv").write_text(ROWS)
    first = build(folder, word_pieces)
    assert np.array_equal(build(folder, word_pieces).ids, first.ids)
    assert len(builds) == 1


def test_changed_tokens_make_a_new_store(folder, word_pieces, builds):
    (folder / "train.tsv").write_text(ROWS)
    build(folder, word_pieces)
    build(folder, word_pieces, length=7)
    build(folder, WordPiece(list(WORDS), do_lower_case=False))
    (folder / "train.tsv").write_text(ROWS.replace("film\t0", "film\t1", 1))
    build(folder, word_pieces)
    assert len(builds) == 4


@pytest.mark.parametrize("file", ["ids.npy", "labels.npy", "meta.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_damaged_store_is_rebuilt_with_one_warning(folder, word_pieces, builds, capsys, file, damage):
    (folder / "train.tsv").write_text(ROWS)
    expected = build(folder, word_pieces).ids.tolist()
    path = next((folder.parent / "cache" / "tokens").glob(f"*/{file}"))
    content = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[-3 if file != "manifest.json" else 2] ^= 0x5A
        path.write_bytes(content)
    again = build(folder, word_pieces)
    assert again.ids.tolist() == expected
    assert len(builds) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_bad_row_leaves_no_store_behind(folder, word_pieces):
    (folder / "train.tsv").write_text(ROWS + "broken\tx\n")
    with pytest.raises(UserError, match="line 52"):
        build(folder, word_pieces)
    assert not (folder.parent / "cache").exists()


def test_file_that_changes_while_it_is_read_is_refused(folder, word_pieces, monkeypatch):
    (folder / "train.tsv").write_text(ROWS)
    original = store_module._build

    def meanwhile(*arguments):
        found = original(*arguments)
        (folder / "train.tsv").write_text(ROWS + "film\t1\n")
        return found

    monkeypatch.setattr(store_module, "_build", meanwhile)
    with pytest.raises(UserError, match="changed while it was read"):
        build(folder, word_pieces)


def test_unwritable_cache_is_reported(folder, word_pieces):
    (folder / "train.tsv").write_text(ROWS)
    (folder.parent / "cache").write_text("a file, not a folder")
    with pytest.raises(UserError, match="TINYBERT_CACHE"):
        build(folder, word_pieces)


RACE = """
import sys, time
from pathlib import Path
from tinybert.data import store
from tinybert.data.tasks import get_task
from tinybert.data.tokenizer import WordPiece
original = store._build
def slow(*arguments):
    with open("log", "a") as log:
        log.write("built\\n")
    time.sleep(0.7)
    return original(*arguments)
store._build = slow
Path(sys.argv[1]).touch()
while not (Path("one").exists() and Path("two").exists()):
    time.sleep(0.01)
made = store.TokenStore.build_or_open(get_task("sst-2"), "data", "train", WordPiece.from_folder("model"), 8)
print(len(made), int(made.ids.sum()))
"""


def test_two_concurrent_processes_build_the_store_once(folder, word_pieces):
    (folder / "train.tsv").write_text(ROWS)
    word_pieces.save(folder.parent / "model")
    command = [sys.executable, "-c", RACE]
    environment = {"PYTHONPATH": ":".join(sys.path), "TINYBERT_CACHE": "cache"}
    where = {"cwd": folder.parent, "stdout": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen([*command, name], **where) for name in ("one", "two")]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs[0] == outputs[1] and outputs[0].startswith("50 ")
    assert (folder.parent / "log").read_text() == "built\n"


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 rows"):
        TokenStore.from_arrays([[1], [2]], labels=np.array([1]))
