"""Rows are read back as written; damaged, mixed-up or inconsistent files are refused."""

import json

import numpy as np
import pytest

from tinybert import storage
from tinybert.corpus.shards import FORMAT, RECORD, open_pregenerated
from tinybert.data.batches import Batches
from tinybert.data.layout import Flat
from tinybert.data.row_writer import RowWriter
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(20))]
LENGTH = 12


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def word_pieces():
    return WordPiece(list(WORDS))


def write_shards(folder, epochs=2, shards=3, rows=5, length=LENGTH):
    """A folder of shards in which every row has a unique id in its second position, modulo 20."""
    listed, number = [], 0
    for epoch in range(epochs):
        listed.append({})
        for shard in range(shards):
            name = f"epoch_{epoch}/shard_{shard:05d}"
            with storage.new_folder(folder / name) as new, RowWriter(new, len(WORDS), length) as writer:
                for _ in range(rows):
                    values = [2, 5 + number % 20, 3, *([6] * (number % 7)), 3]
                    writer.append(Flat.of([values]), np.array([3]))
                    number += 1
                storage.write_json(new / "meta.json", {"max_seq_len": length, "pad_id": 0})
            listed[-1][name] = storage.sha256_of(folder / name / storage.MANIFEST)
    record = {
        "format": FORMAT,
        "finished": "now",
        "max_seq_len": length,
        "vocab_size": len(WORDS),
        "source_sha256": "0" * 64,
        "settings": {"format": "shards"},
        "tokenizer": WordPiece(list(WORDS)).fingerprint,
        "files": {},
    }
    vocabulary = WordPiece(list(WORDS)).vocabulary_sha256
    storage.write_json(folder / RECORD, {**record, "vocabulary_sha256": vocabulary, "shards": listed})


def write_json_epoch(folder, number=0, rows=5, metrics=None):
    lines = []
    for row in range(rows):
        tokens = ["[CLS]", f"w{row}", "[SEP]", "w7", "[SEP]"]
        lines.append(
            {
                "tokens": tokens,
                "segment_ids": [0, 0, 0, 1, 1],
                "is_random_next": False,
                "masked_lm_positions": [1],
                "masked_lm_labels": ["w1"],
            }
        )
    (folder / f"epoch_{number}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    wanted = {"num_training_examples": rows, "max_seq_len": LENGTH, **(metrics or {})}
    (folder / f"epoch_{number}_metrics.json").write_text(json.dumps(wanted))


def test_shards_read_as_one_store(tmp_path):
    write_shards(tmp_path)
    opened = open_pregenerated(tmp_path)
    assert (opened.epochs, opened.max_seq_len) == (2, LENGTH)
    store = opened.epoch(1)
    assert len(store) == 15 and store.labels is None
    assert [store.tokens(np.array([i]))[1] for i in range(15)] == [5 + i % 20 for i in range(15, 30)]
    assert opened.epoch(3) is store  # epoch 3 of two is the second again


def test_batches_read_shards_like_a_single_store(tmp_path):
    write_shards(tmp_path)
    store = open_pregenerated(tmp_path).epoch(0)
    batches = Batches(store, 4, seed=1)
    seen = []
    for step in range(batches.steps_per_epoch):
        (batch,) = batches.step(0, step)
        for place, row in enumerate(batch.rows):
            length = store.lengths[row]
            assert batch.input_ids[place, :length].tolist() == store.tokens(np.array([row])).tolist()
            assert not batch.input_ids[place, length:].any()
            assert batch.token_type_ids[place].sum() == length - 3
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(15))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: truncate(f / "epoch_1/shard_00001/ids.npy"), r"ids.npy: \d+ bytes found, \d+ expected"),
        (lambda f: flip(f / "epoch_0/shard_00002/ids.npy"), "its sha256 differs"),
        (lambda f: (f / "epoch_0/shard_00000/first.npy").unlink(), "first.npy is missing"),
        (lambda f: (f / "epoch_0/shard_00000").rename(f / "elsewhere"), "no readable manifest"),
    ],
)
def test_damaged_shards_are_refused_before_reading(tmp_path, damage, message):
    write_shards(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        open_pregenerated(tmp_path)


def test_intact_shards_of_another_run_are_refused(tmp_path):
    write_shards(tmp_path / "long")
    write_shards(tmp_path / "short", length=11)
    write_shards(tmp_path / "other", rows=4)
    for source, message in (("short", "rows of length 11; expected 12"), ("other", "not the shard that belongs here")):
        place = tmp_path / "long/epoch_0/shard_00001"
        place.rename(tmp_path / f"aside_{source}")
        (tmp_path / source / "epoch_0/shard_00001").rename(place)
        with pytest.raises(UserError, match=message):
            open_pregenerated(tmp_path / "long")
        place.rename(tmp_path / f"gone_{source}")
        (tmp_path / f"aside_{source}").rename(place)


def test_rows_of_another_vocabulary_or_length_are_refused(tmp_path, word_pieces):
    write_shards(tmp_path)
    opened = open_pregenerated(tmp_path)
    opened.check(word_pieces, longest=LENGTH, max_seq_length=LENGTH)
    with pytest.raises(UserError, match="another vocabulary"):
        opened.check(WordPiece([*WORDS[:-1], "other"]))
    with pytest.raises(UserError, match="rows of length 12, but 64 was requested"):
        opened.check(word_pieces, max_seq_length=64)
    with pytest.raises(UserError, match="up to 12 tokens, but the model reads 8"):
        opened.check(word_pieces, longest=8)


def test_missing_and_unfinished_folders_get_different_errors(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        open_pregenerated(tmp_path / "nowhere")
    with pytest.raises(UserError, match="contains neither"):
        open_pregenerated(tmp_path)
    write_shards(tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    storage.write_json(tmp_path / RECORD, {**record, "finished": None})
    with pytest.raises(UserError, match="not finished"):
        open_pregenerated(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda record: [],
        lambda record: {**record, "settings": None},
        lambda record: {**record, "shards": []},
        lambda record: {**record, "shards": [*record["shards"], {}]},
        lambda record: {**record, "shards": ["epoch_0"]},
        lambda record: {**record, "max_seq_len": "12"},
        lambda record: {name: value for name, value in record.items() if name != "tokenizer"},
    ],
)
def test_damaged_record_is_refused(tmp_path, edit):
    write_shards(tmp_path)
    storage.write_json(tmp_path / RECORD, edit(json.loads((tmp_path / RECORD).read_text())))
    with pytest.raises(UserError, match="damaged"):
        open_pregenerated(tmp_path)


def test_truncated_record_is_refused(tmp_path):
    write_shards(tmp_path)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        open_pregenerated(tmp_path)


def test_published_files_give_the_same_rows(tmp_path, word_pieces):
    for number in range(2):
        write_json_epoch(tmp_path, number)
    opened = open_pregenerated(tmp_path, word_pieces)
    assert (opened.epochs, opened.max_seq_len, opened.vocabulary_sha256) == (2, LENGTH, word_pieces.vocabulary_sha256)
    store = opened.epoch(0)
    assert store.row(3).tolist() == [2, 8, 3, 12, 3] and store.first[3] == 3
    with pytest.raises(UserError, match="vocabulary is needed"):
        open_pregenerated(tmp_path)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"num_training_examples": 6}, "says 6 rows, epoch_0.json has 5"),
        ({"max_seq_len": 4}, "a row of 5 tokens, but epoch_0_metrics.json says max_seq_len 4"),
        ({"max_seq_len": "12"}, "two whole numbers above 0"),
        ({"num_training_examples": None}, "two whole numbers above 0"),
        ({"max_seq_len": 10**12}, "expected at most 65536"),
    ],
)
def test_inconsistent_metrics_files_are_refused(tmp_path, word_pieces, metrics, message):
    write_json_epoch(tmp_path, metrics=metrics)
    with pytest.raises(UserError, match=message):
        open_pregenerated(tmp_path, word_pieces)


def test_malformed_published_files_are_refused_with_a_line_number(tmp_path, word_pieces):
    write_json_epoch(tmp_path)
    whole = (tmp_path / "epoch_0.json").read_text()
    for text, message in (
        (whole[:-20], "line 5: found no row"),
        (whole.replace("w4", "strange"), "line 5: the vocabulary has no token 'strange'"),
        (whole.replace("[0, 0, 0, 1, 1]", "[0, 1, 0, 1, 1]", 1), "line 1: 5 tokens and segments"),
        (whole + "[]\n", "line 6: found no row"),
        (whole + "[" * 100_000 + "\n", "line 6: found no row"),
    ):
        (tmp_path / "epoch_0.json").write_text(text)
        with pytest.raises(UserError, match=message):
            open_pregenerated(tmp_path, word_pieces)
    (tmp_path / "epoch_0_metrics.json").unlink()
    with pytest.raises(UserError, match="num_training_examples and max_seq_len as pregenerate writes"):
        open_pregenerated(tmp_path, word_pieces)
