"""Pregeneration end to end: the output does not depend on processes or interruptions, and refused input leaves no files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.unit.corpus.text import word_pieces, write_corpus
from tinybert.cli.main import main
from tinybert.corpus import documents, writing
from tinybert.corpus.shards import RECORD, open_pregenerated
from tinybert.data.tokenizer import WordPiece
from tinybert.errors import Interrupted, UserError
from tinybert.recipes import pregenerate as recipe

LENGTH = 32


@pytest.fixture(autouse=True)
def several_shards(monkeypatch):
    """Six shards of five chunks, although the corpus is small."""
    monkeypatch.setattr(writing, "SMALLEST", 400)
    monkeypatch.setattr(writing, "SHARDS", 6)
    monkeypatch.setattr(documents, "CHUNK_CHARACTERS", 2000)


@pytest.fixture
def corpus(tmp_path) -> Path:
    write_corpus(tmp_path / "text")
    (tmp_path / "vocab.txt").write_text("\n".join(word_pieces().vocabulary) + "\n")
    return tmp_path / "text"


def line(corpus: Path, output: Path, *more: str) -> list[str]:
    words = ["pregenerate", "--train_corpus", str(corpus), "--bert_model", str(corpus.parent / "vocab.txt"), "--output_dir", str(output)]
    return [*words, "--max_seq_len", str(LENGTH), "--num_workers", "1", "--epochs_to_generate", "2", *more]


def contents(folder: Path) -> dict[str, bytes]:
    """All files except the record, which contains the time."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != RECORD}


def test_processes_do_not_change_the_output(corpus, tmp_path):
    for workers in ("1", "2"):
        assert main(line(corpus, tmp_path / workers, "--masked_lm_prob", "0.15", "--num_workers", workers)) == 0
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert one == two and len([name for name in one if name.endswith("ids.npy")]) >= 8
    assert not any(name.startswith(".") for name in one)
    records = [json.loads((tmp_path / workers / RECORD).read_text()) for workers in ("1", "2")]
    for record in records:
        record.pop("finished")
    assert records[0] == records[1]


def interrupt_after(monkeypatch, shards: int) -> None:
    """Interrupt a run after this many shards."""

    make = writing.ShardMaker.__call__
    made = []

    def cut_short(maker, shard):
        if len(made) == shards:
            raise Interrupted(15, "as by SIGTERM")
        made.append(shard)
        return make(maker, shard)

    monkeypatch.setattr(writing.ShardMaker, "__call__", cut_short)


def test_interrupted_run_keeps_its_shards_and_ends_the_same(corpus, tmp_path, monkeypatch, capsys):
    assert main(line(corpus, tmp_path / "through")) == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        assert main(line(corpus, tmp_path / "cut")) == 143
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").rglob("ids.npy") if path.parent.name.startswith("shard")}
    assert len(kept) == 3
    assert main(line(corpus, tmp_path / "cut")) == 0
    assert "kept: 3 shards" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(tmp_path / "cut") == contents(tmp_path / "through")
    before = contents(tmp_path / "cut")
    assert main(line(corpus, tmp_path / "cut")) == 0
    assert "already finished" in capsys.readouterr().out and contents(tmp_path / "cut") == before


def test_lost_or_damaged_shard_is_rebuilt(corpus, tmp_path):
    assert main(line(corpus, tmp_path / "out")) == 0
    before = contents(tmp_path / "out")
    shard = next((tmp_path / "out/epoch_1").iterdir())
    (shard / "ids.npy").write_bytes((shard / "ids.npy").read_bytes()[:-2])
    assert main(line(corpus, tmp_path / "out")) == 0
    assert contents(tmp_path / "out") == before
    open_pregenerated(tmp_path / "out")


@pytest.mark.both_lanes
def test_json_lines_and_shards_hold_the_same_rows(corpus, tmp_path):
    for kind in ("json", "shards"):
        assert main(line(corpus, tmp_path / kind, "--format", kind, "--masked_lm_prob", "0.15")) == 0
    assert sorted(path.name for path in (tmp_path / "json").glob("epoch*")) == [
        f"epoch_{number}{end}" for number in range(2) for end in (".json", "_metrics.json")
    ]
    as_json = open_pregenerated(tmp_path / "json", word_pieces())
    as_shards = open_pregenerated(tmp_path / "shards")
    assert (as_json.epochs, as_json.max_seq_len) == (as_shards.epochs, as_shards.max_seq_len) == (2, LENGTH)
    for epoch in range(2):
        one, two = as_json.epoch(epoch), as_shards.epoch(epoch)
        assert len(one) == len(two) > 50
        np.testing.assert_array_equal(one.first, two.first)
        np.testing.assert_array_equal(one.lengths, two.lengths)
        np.testing.assert_array_equal(one.tokens(np.arange(len(one))), two.tokens(np.arange(len(two))))


class Killed(BaseException):
    """An exception that is never caught."""


def killed(*arguments) -> None:
    raise Killed


def test_killed_and_damaged_json_output_is_completed_on_rerun(corpus, tmp_path, monkeypatch):
    words = line(corpus, tmp_path / "rows", "--format", "json")
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "_drop_scaffolding", killed)
        with pytest.raises(Killed):
            main(words)
    assert (tmp_path / "rows" / ".corpus_tokens").exists() and (tmp_path / "rows" / "epoch_0").exists()
    assert main(words) == 0
    whole = contents(tmp_path / "rows")
    assert set(whole) == {f"epoch_{number}{end}" for number in range(2) for end in (".json", "_metrics.json")}
    path = tmp_path / "rows" / "epoch_0.json"
    path.write_bytes(path.read_bytes()[:-40])
    assert main(words) == 0
    assert contents(tmp_path / "rows") == whole


def test_missing_epoch_file_is_reported(corpus, tmp_path):
    assert main(line(corpus, tmp_path / "out", "--format", "json")) == 0
    (tmp_path / "out/epoch_1.json").unlink()
    with pytest.raises(UserError, match=r"lacks epoch_1\.json"):
        open_pregenerated(tmp_path / "out", WordPiece.from_folder(tmp_path))


@pytest.mark.parametrize(("more", "warned"), [((), True), (("--sequences", "lines"), True), (("--sequences", "packed"), False)])
def test_text_without_sentence_ends_gives_a_warning(corpus, tmp_path, capsys, more, warned):
    words = corpus.read_text().replace(".", "").split()
    corpus.write_text("\n\n".join(" ".join(words[begin : begin + 300]) for begin in range(0, 1500, 300)))
    assert main(line(corpus, tmp_path / "out", *more)) == 0
    assert ("sentences longer than a row are truncated" in capsys.readouterr().err) == warned


def test_gap_between_published_files_is_refused(corpus, tmp_path):
    assert main(line(corpus, tmp_path / "rows", "--format", "json", "--epochs_to_generate", "3")) == 0
    (tmp_path / "rows" / RECORD).unlink()
    (tmp_path / "rows" / "epoch_1.json").unlink()
    with pytest.raises(UserError, match=r"has epoch_2\.json, but not epoch_1\.json"):
        open_pregenerated(tmp_path / "rows", word_pieces())


def test_output_folder_inside_the_corpus_is_refused(corpus, tmp_path, capsys):
    output = corpus.parent / "rows"
    assert main(line(corpus, output, "--train_corpus", str(corpus.parent))) == 2
    assert "is inside --train_corpus" in capsys.readouterr().err and not output.exists()


def test_lines_without_masks_are_written_once(corpus, tmp_path, capsys):
    assert main(line(corpus, tmp_path / "rows", "--sequences", "lines")) == 0
    assert "only one epoch is written" in capsys.readouterr().err and open_pregenerated(tmp_path / "rows").epochs == 1
    assert main(line(corpus, tmp_path / "masked", "--sequences", "lines", "--masked_lm_prob", "0.2")) == 0
    assert open_pregenerated(tmp_path / "masked").epochs == 2


def test_rows_with_other_lower_casing_are_refused(corpus, tmp_path):
    assert main(line(corpus, tmp_path / "rows", "--do_lower_case", "False")) == 0
    opened = open_pregenerated(tmp_path / "rows")
    opened.check(WordPiece(word_pieces().vocabulary, do_lower_case=False))
    with pytest.raises(UserError, match="lower-casing"):
        opened.check(WordPiece(word_pieces().vocabulary, do_lower_case=True))


def masked(folder: Path) -> int:
    return sum(epoch["masked"] for epoch in json.loads((folder / RECORD).read_text())["made"])


def test_masks_are_made_only_under_the_published_preset(corpus, tmp_path):
    assert main(line(corpus, tmp_path / "sound")) == 0
    assert masked(tmp_path / "sound") == 0
    mask = word_pieces().mask_id
    assert not any(
        (store.tokens(np.arange(len(store))) == mask).any() for store in map(open_pregenerated(tmp_path / "sound").epoch, (0, 1))
    )
    assert main(line(corpus, tmp_path / "huawei", "--preset", "huawei")) == 0
    rows = sum(epoch["rows"] for epoch in json.loads((tmp_path / "huawei" / RECORD).read_text())["made"])
    assert masked(tmp_path / "huawei") == rows


def test_published_command_line_is_accepted(corpus, tmp_path, capsys):
    published = "--do_lower_case --do_whole_word_mask --reduce_memory --short_seq_prob 0.2 --masked_lm_prob 0.1 --max_predictions_per_seq 5"
    assert main(line(corpus, tmp_path / "out", *published.split(), "--one_seq", "--data_url", "")) == 0
    assert "--reduce_memory has no effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "contains no text"),
        (b"a d0x1.\nb\n", "only one document"),
        (b"text\n\0\n", "is a binary file"),
        (b"d0x1\n\n" + b"d1x1\n" * 3000 + b"\xe9\n", "line 3003: found the byte 0xe9"),
        (b"d0x1 .\n\n\xe2\x80\x8b\n", "1 document"),
    ],
)
def test_refused_text_leaves_no_files(corpus, tmp_path, content, message, capsys):
    corpus.write_bytes(content)
    assert main(line(corpus, tmp_path / "out")) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("model_type", "positions"), [("bert", 20), ("roberta", 19)])
@pytest.mark.parametrize("name", ["config.json", "bert_config.json"])
def test_rows_longer_than_the_model_reads_are_refused(corpus, tmp_path, capsys, model_type, positions, name):
    folder = tmp_path / "model"
    tiny.model_folder(folder, model_type)
    (folder / "config.json").rename(folder / name)
    words = line(corpus, tmp_path / "out", "--bert_model", str(folder), "--max_seq_len", str(positions + 1))
    assert main(words) == 2
    assert f"--max_seq_len {positions + 1} exceeds the {positions} positions of {folder}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folder_with_other_files_or_settings_is_not_overwritten(corpus, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(line(corpus, output)) == 0
    assert main(line(corpus, output, "--seed", "7")) == 2
    assert "seed: was 42, is 7" in capsys.readouterr().err
    assert main(line(corpus, output, "--seed", "7", "--overwrite_output_dir")) == 0
    (output / "thesis.txt").write_text("mine")
    assert main(line(corpus, output, "--seed", "8", "--overwrite_output_dir")) == 2
    assert "thesis.txt" in capsys.readouterr().err and open_pregenerated(output).meta["settings"]["seed"] == 7


@pytest.mark.parametrize("name", ["tokens", ".corpus_tokens", "epoch_0", "epoch_7"])
def test_folders_of_the_user_are_kept(corpus, tmp_path, capsys, name):
    (tmp_path / "rows" / name).mkdir(parents=True)
    (tmp_path / "rows" / name / "notes").write_text("mine")
    for more in ((), ("--overwrite_output_dir",)):
        assert main(line(corpus, tmp_path / "rows", *more)) == 2
        assert f"contains files not written by this program: {name}" in capsys.readouterr().err
        assert (tmp_path / "rows" / name / "notes").read_text() == "mine"


def test_published_files_of_another_program_are_not_overwritten(corpus, tmp_path, capsys):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/epoch_0.json").write_text("mine")
    assert main(line(corpus, tmp_path / "rows", "--format", "json", "--overwrite_output_dir")) == 2
    assert "not written by this program: epoch_0.json" in capsys.readouterr().err and (tmp_path / "rows/epoch_0.json").read_text() == "mine"


def test_damaged_tokens_of_a_killed_run_are_rebuilt(corpus, tmp_path, monkeypatch):
    assert main(line(corpus, tmp_path / "through")) == 0
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        assert main(line(corpus, tmp_path / "cut")) == 143
    path = tmp_path / "cut/.corpus_tokens/documents.npy"
    content = bytearray(path.read_bytes())
    content[20:24] = b"(((("  # in the header: the length is unchanged
    path.write_bytes(content)
    assert main(line(corpus, tmp_path / "cut")) == 0
    assert contents(tmp_path / "cut") == contents(tmp_path / "through")
