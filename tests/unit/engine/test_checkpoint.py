"""Checkpoints on disk: only the newest complete one is used."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinybert import storage
from tinybert.engine import checkpoint
from tinybert.engine.checkpoint import Checkpoint
from tinybert.errors import UserError


def saved(folder, step: int, keep: int = 2):
    weights = {"w": np.full((2, 3), step, "float32"), "view": np.arange(6, dtype="float32").reshape(2, 3).T}
    return checkpoint.write(folder, step, Checkpoint(weights, {"w|moment1": np.ones(2, "float32")}, {"step": step}), keep)


def steps(folder) -> list[int]:
    return sorted(int(entry.name.removeprefix("step_")) for entry in folder.iterdir())


def test_checkpoint_is_read_back_unchanged(tmp_path):
    found = checkpoint.read(saved(tmp_path, 7))
    np.testing.assert_array_equal(found.weights["w"], np.full((2, 3), 7, "float32"))
    np.testing.assert_array_equal(found.weights["view"], np.arange(6, dtype="float32").reshape(2, 3).T)
    np.testing.assert_array_equal(found.optimizer["w|moment1"], np.ones(2, "float32"))
    assert found.state == {"step": 7}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_checkpoints_are_kept(tmp_path, keep):
    for step in (5, 10, 95, 100):  # steps are compared as numbers, not by name
        saved(tmp_path, step, keep)
    assert steps(tmp_path) == {1: [100], 2: [95, 100], 3: [10, 95, 100]}[keep]
    assert checkpoint.newest(tmp_path).name == "step_00000100"


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_new_checkpoint_is_newest_after_resuming_from_an_older_one(tmp_path, keep):
    for step in (500, 600, 1200):
        saved(tmp_path, step, 9)
    path = saved(tmp_path, 700, keep)
    assert checkpoint.newest(tmp_path) == path
    assert steps(tmp_path) == {1: [700], 2: [600, 700], 3: [500, 600, 700]}[keep]


def test_resuming_from_an_older_checkpoint_supersedes_newer_ones(tmp_path):
    for step in (500, 600, 1200):
        saved(tmp_path, step, 9)
    assert checkpoint.fork_from(tmp_path, tmp_path / "step_00000600") == tmp_path / "step_00000600"
    assert checkpoint.newest(tmp_path).name == "step_00000600"  # as after a kill before the next one is written
    assert (tmp_path / "superseded_00001200" / "state.json").is_file()  # kept until it is replaced
    saved(tmp_path, 1300, 3)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step_00000500", "step_00000600", "step_00001300"]


def test_checkpoint_of_another_folder_supersedes_those_here(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for step in (400, 600, 1200):
        saved(here, step, 9)
    path = saved(there, 600)
    (path / "state.json").write_text(json.dumps({"step": 600, "log_position": 77}))
    own = checkpoint.fork_from(here, path)
    assert checkpoint.newest(here) == own and checkpoint.read(own).state == {"step": 600, "log_position": 0}
    assert steps(there) == [600] and (path / "state.json").read_text().endswith("77}")
    saved(here, 601, 3)
    assert steps(here) == [600, 601]


def test_writing_the_same_step_twice_replaces_it(tmp_path):
    saved(tmp_path, 5)
    saved(tmp_path, 5)
    assert steps(tmp_path) == [5]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest", "state"])
def test_damaged_newest_checkpoint_is_skipped_for_the_one_before(tmp_path, capsys, damage):
    saved(tmp_path, 5)
    path = saved(tmp_path, 10)
    file = path / "weights.safetensors"
    data = file.read_bytes()
    if damage == "flip":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(data[:-1])
    elif damage == "delete":
        file.unlink()
    elif damage == "manifest":
        (path / "manifest.json").write_text("{")
    else:
        (path / "state.json").write_text(json.dumps({"step": 11}))
    assert checkpoint.newest(tmp_path).name == "step_00000005"
    assert "skipping a damaged checkpoint" in capsys.readouterr().err
    assert checkpoint.find(tmp_path, "auto").name == "step_00000005"
    with pytest.raises(UserError, match=r"--resume .* (is damaged|is not a checkpoint)"):
        checkpoint.find(tmp_path, str(path))


def test_half_written_checkpoints_are_ignored(tmp_path):
    (tmp_path / "step_00000009").mkdir()
    (tmp_path / ".step_00000010.tmp-elsewhere-1-abcd").mkdir()
    assert checkpoint.newest(tmp_path) is None
    assert checkpoint.find(tmp_path, "auto") is None
    assert checkpoint.find(tmp_path / "none", "auto") is None


def test_find_accepts_a_checkpoint_or_its_parent_folder(tmp_path):
    saved(tmp_path, 5)
    path = saved(tmp_path, 10)
    assert checkpoint.find(tmp_path / "other", str(tmp_path / "step_00000005")).name == "step_00000005"
    assert checkpoint.find(tmp_path / "other", str(tmp_path)) == path
    with pytest.raises(UserError, match="is not a checkpoint: expected a folder step_<n>"):
        checkpoint.find(tmp_path, str(tmp_path / "none"))


def test_changed_arguments_are_listed():
    then = {"seed": 1, "learning_rate": 5e-5, "gone": "x"}
    now = {"seed": 1, "learning_rate": 3e-5, "new": None}
    assert checkpoint.differences(then, then) == {}
    assert list(checkpoint.differences(then, now).values()) == ["gone: was 'x', is None", "learning_rate: was 5e-05, is 3e-05"]


@pytest.mark.parametrize("content", ["{", "[]", "null", "{}", '{"step": "7"}', '{"step": 7, "fingerprint": []}', "[" * 10**5])
def test_checkpoint_with_malformed_state_is_skipped_or_refused(tmp_path, content):
    older, odd = saved(tmp_path, 5), saved(tmp_path, 7)
    (odd / "state.json").write_text(content)
    files = json.loads((odd / "manifest.json").read_text())
    files["files"]["state.json"] = {"bytes": len(content), "sha256": storage.sha256_of(odd / "state.json")}
    (odd / "manifest.json").write_text(json.dumps(files))
    assert checkpoint.newest(tmp_path) == older
    with pytest.raises(UserError, match="the checkpoint is damaged"):
        checkpoint.find(tmp_path, str(odd))
