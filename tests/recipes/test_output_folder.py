"""The output folder of compare, search and auto: one at a time, resumed or replaced on request, and nothing of others is touched."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tinybert.commands.compare import CompareConfig
from tinybert.engine import run_lock
from tinybert.errors import UserError
from tinybert.recipes import output_folder
from tinybert.recipes.output_folder import claimed, given_options


def claim(folder: Path, **more):
    config = CompareConfig(**{"task_name": "demo", "teacher_path": "T", "output_dir": folder, **more})
    return claimed(config, "a comparison", given_options(config, ("threads",)), ("runs", "*.html"))


def test_resumed_work_has_its_record_and_time(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(output_folder, "time", SimpleNamespace(monotonic=lambda: clock.now))
    with pytest.raises(KeyboardInterrupt), claim(tmp_path / "out") as new:
        assert new.get("updates") is None and new.seconds == 0
        new.record(updates=17)
        clock.now += 60
        raise KeyboardInterrupt
    clock.now = 5.0  # of another process
    with claim(tmp_path / "out", resume=True, threads=2) as resumed:
        clock.now += 10
        assert resumed.get("updates") == 17 and resumed.seconds == 70


def test_results_are_replaced_only_on_request(tmp_path):
    with claim(tmp_path) as new:
        new.record(updates=17)
        (tmp_path / "runs").mkdir()
        for name in ("report.html", "notes.txt"):
            (tmp_path / name).touch()
    with pytest.raises(UserError, match="already contains a comparison\nresume it with --resume"), claim(tmp_path):
        pass
    with claim(tmp_path, overwrite_output_dir=True) as replaced:
        assert replaced.get("updates") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "plan.json"]


def test_work_with_other_options_is_not_resumed(tmp_path):
    with claim(tmp_path):
        pass
    with pytest.raises(UserError, match=r"has other options \(seeds: was None, is \[1\]\)"), claim(tmp_path, seeds=[1], resume=True):
        pass


@pytest.mark.parametrize("plan", [None, '{"kind": "a search"}'])
def test_folders_of_others_are_refused_and_left_as_they_were(tmp_path, plan):
    (tmp_path / ("plan.json" if plan else "letter.txt")).write_text(plan or "mine")
    for more in ({}, {"resume": True}, {"overwrite_output_dir": True}):
        with pytest.raises(UserError, match="is not empty and does not contain a comparison"), claim(tmp_path, **more):
            pass
    assert len(list(tmp_path.iterdir())) == 1


def test_an_input_among_the_results_is_not_deleted(tmp_path):
    with claim(tmp_path):
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "rows.tsv").touch()
    more = {
        "dev_file": tmp_path / "runs" / "rows.tsv",
        "train_file": "t.tsv",
        "text_a_column": "0",
        "label_column": "1",
        "task_name": "own",
    }
    with pytest.raises(UserError, match="which this run would overwrite"), claim(tmp_path, overwrite_output_dir=True, **more):
        pass
    assert (tmp_path / "runs" / "rows.tsv").is_file()


def test_rejected_work_leaves_no_folder(tmp_path):
    with pytest.raises(UserError, match="too small"), claim(tmp_path / "out"):
        raise UserError("too small")
    assert not (tmp_path / "out").exists()


def test_folder_is_locked_until_the_work_ends(tmp_path, monkeypatch):
    with claim(tmp_path):
        assert (tmp_path / run_lock.NAME).is_file()
        monkeypatch.setattr(run_lock, "_held", {})  # as another process
        with pytest.raises(UserError, match="is in use"), claim(tmp_path, resume=True):
            pass
        monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
