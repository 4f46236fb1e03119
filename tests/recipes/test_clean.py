"""`tinybert clean` lists leftovers of killed runs with their size and deletes only those."""

from __future__ import annotations

import os

import pytest

from tests.unit.test_temporaries import dead_pid
from tinybert import storage, temporaries
from tinybert.cli.main import main


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """Caches, data and models in one folder."""
    for variable, name in (("TINYBERT_CACHE", "cache"), ("DATA_HOME", "data"), ("MODEL_HOME", "models")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


def written(folder, text="x" * 2_000_000):
    """A complete folder written by this program."""
    with storage.new_folder(folder) as new:
        (new / "a").write_text(text)
    return folder


def half_written(folder, name, pid):
    """The leftover of a killed writer with this process id."""
    path = folder / f".{name}.tmp-{temporaries.place()}-{pid}-0123abcd"
    path.mkdir(parents=True)
    (path / "ids.npy").write_bytes(b"1" * 1_500_000)
    return path


def test_leftovers_are_listed_with_their_size_and_deleted(homes, capsys):
    dead = dead_pid()
    gone = [
        half_written(homes / "cache/tokens", "a" * 64, dead), half_written(homes / "models", "bert", dead),
        half_written(homes / "runs/one", "best_model", dead), half_written(homes / "data/Glue/SST-2", "train.tsv", dead),
        written(homes / "runs/one/checkpoints/finetune/left_00000004"),
    ]  # fmt: skip
    damaged = written(homes / "cache/tokens" / ("b" * 64))
    (damaged / "a").write_text("short")
    kept = [
        half_written(homes / "runs/two", "final", os.getppid()), written(homes / "cache/tokens" / ("c" * 64)),
        written(homes / "runs/one/checkpoints/finetune/step_00000004"), written(homes / "runs/two/.augmented_parts/0000000"),
    ]  # fmt: skip
    (homes / "runs/one/left_over").mkdir()
    (homes / "runs/one/.notes.old").mkdir()
    assert main(["clean", "--dry_run", "--output_dir", str(homes / "runs")]) == 0
    told = capsys.readouterr().out
    for path in (*gone, damaged):
        assert path.exists() and f"MB  {path}: " in told
    assert "       1.5 MB" in told and "would be deleted" in told and "(kept; --unfinished deletes it)" in told
    assert main(["clean", "--output_dir", str(homes / "runs")]) == 0
    assert not any(path.exists() for path in (*gone, damaged)) and all(path.exists() for path in kept)
    assert (homes / "runs/one/left_over").is_dir() and (homes / "runs/one/.notes.old").is_dir()
    assert main(["clean", "--unfinished", "--output_dir", str(homes / "runs")]) == 0
    assert not (homes / "runs/two/.augmented_parts").exists() and all(path.exists() for path in kept[:3])


def test_nothing_to_clean_is_reported(homes, capsys):
    assert main(["clean", "--dry_run"]) == 0
    assert capsys.readouterr().out == "no leftovers of killed runs\n" and list(homes.iterdir()) == []
    assert main(["clean", "--output_dir", str(homes / "none")]) == 2
