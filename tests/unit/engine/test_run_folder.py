"""An output folder that two stages share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError


@pytest.fixture
def used(tmp_path):
    """A folder with results of both stages."""
    for stage in ("intermediate", "prediction"):
        run = RunFolder(tmp_path / "out", stage)
        run.update_record(seed=1)
        run.checkpoints.mkdir(parents=True)
        (run.checkpoints / "step_00000001").mkdir()
        run.open_logs()
        run.log({"step": 1, "loss": 0.5})
        run.close_logs()
        run.write_results({"score": 1.0})
    return tmp_path / "out"


def test_results_of_the_same_stage_are_not_overwritten_by_default(used):
    with pytest.raises(UserError, match=r"already holds results of the prediction stage(.|\n)*--resume auto(.|\n)*--overwrite_output_dir"):
        RunFolder(used, "prediction").check_existing_results(resume=False, overwrite=False)


@pytest.mark.parametrize("left", ["run.json", "checkpoints"])
def test_partial_results_of_a_stage_count_as_results(tmp_path, left):
    run = RunFolder(tmp_path, "prediction")
    if left == "run.json":
        run.update_record(seed=1)
    else:
        run.checkpoints.mkdir(parents=True)
    with pytest.raises(UserError, match="already holds results"):
        run.check_existing_results(resume=False, overwrite=False)


def test_other_stages_and_resuming_are_accepted(used):
    RunFolder(used, "finetune").check_existing_results(resume=False, overwrite=False)
    RunFolder(used, "prediction").check_existing_results(resume=True, overwrite=False)
    assert RunFolder(used, "prediction").checkpoints.is_dir()


def test_overwriting_one_stage_keeps_the_other(used):
    run = RunFolder(used, "prediction")
    run.check_existing_results(resume=False, overwrite=True)
    run.clear(("best_model", "final"))
    assert list(RunFolder(used, "").record()) == ["intermediate"]
    assert [line["stage"] for line in RunFolder(used, "").log_lines()] == ["intermediate"]
    assert not RunFolder(used, "prediction").checkpoints.exists()
    assert RunFolder(used, "intermediate").checkpoints.is_dir()
    assert {entry.name for entry in (used / "vdl").iterdir()} == {"intermediate"}


def test_rank_that_does_not_write_deletes_nothing(used):
    run = RunFolder(used, "prediction", writes=False)
    run.check_existing_results(resume=False, overwrite=True)
    run.clear(("best_model", "final"))
    assert set(RunFolder(used, "").record()) == {"intermediate", "prediction"}
    assert RunFolder(used, "prediction").checkpoints.is_dir()


def test_rank_that_does_not_write_creates_no_files(tmp_path):
    run = RunFolder(tmp_path / "out", "prediction", writes=False)
    run.check_existing_results(resume=False, overwrite=False)
    run.update_record(seed=1)
    run.open_logs()
    run.log({"step": 1, "loss": 0.5})
    run.write_results({})
    run.close_logs()
    assert not (tmp_path / "out").exists()


def test_file_as_output_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is a file; expected a folder"):
        RunFolder(tmp_path / "out", "prediction").check_existing_results(resume=False, overwrite=False)


DAMAGED = ["{", "[]", "null", '{"finished": "x"}', "\xff", "[" * 100_000]


@pytest.mark.parametrize("text", DAMAGED, ids=[text[:12] for text in DAMAGED])
@pytest.mark.parametrize("name", ["run.json", "eval_results.json"])
def test_damaged_record_is_refused_with_its_name(used, name, text):
    (used / name).write_bytes(text.encode("latin-1"))
    for overwrite in (False, True):
        with pytest.raises(UserError, match=f"{name} is damaged"):
            RunFolder(used, "finetune").check_existing_results(resume=False, overwrite=overwrite)


@pytest.mark.parametrize("odd", [b"\xff\xfe\n", b"[]\n", b"null\n", b'{"stage": 3}\n', b"[" * 100_000 + b"\n"])
def test_malformed_log_lines_are_skipped(used, odd):
    with open(used / "log.jsonl", "ab") as log:
        log.write(odd)
    run = RunFolder(used, "prediction")
    assert [line["stage"] for line in run.log_lines()] == ["intermediate", "prediction"]
    run.clear_logs()
    assert [line["stage"] for line in run.log_lines()] == ["intermediate"]


def test_missing_write_permission_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)  # the tests may run as root, who may write anywhere
    with pytest.raises(UserError, match=f"cannot be written: no permission in {tmp_path}"):
        RunFolder(tmp_path / "a" / "b", "finetune").check_existing_results(resume=False, overwrite=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "file" / "out", "finetune").check_existing_results(resume=False, overwrite=False)


def test_record_keeps_the_entries_of_both_stages(tmp_path):
    RunFolder(tmp_path, "intermediate").update_record(seed=1)
    RunFolder(tmp_path, "prediction").update_record(seed=2)
    RunFolder(tmp_path, "intermediate").update_record(steps=3)
    record = RunFolder(tmp_path, "").record()
    assert {stage: (entry["seed"], entry.get("steps")) for stage, entry in record.items()} == {
        "intermediate": (1, 3),
        "prediction": (2, None),
    }


def test_results_of_one_stage_keep_those_of_the_other(used):
    RunFolder(used, "prediction").write_results({"score": 2.0})
    assert json.loads((used / "eval_results.json").read_text()) == {"intermediate": {"score": 1.0}, "prediction": {"score": 2.0}}


def test_resumed_log_neither_repeats_nor_loses_lines(tmp_path):
    run = RunFolder(tmp_path, "prediction")
    run.open_logs()
    for step in (1, 2):
        run.log({"step": step, "loss": 0.5, "note": "ä"})
    position = run.log_position()
    run.log({"step": 3, "loss": 0.5})
    run.close_logs()
    assert position < (tmp_path / "log.jsonl").stat().st_size
    again = RunFolder(tmp_path, "prediction")
    again.open_logs(position)
    assert again.log_position() == position
    again.log({"step": 3, "loss": 0.25})
    again.close_logs()
    assert [(line["step"], line["loss"]) for line in again.log_lines()] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_log_position_past_the_end_adds_no_zero_bytes(tmp_path):
    run = RunFolder(tmp_path, "prediction")
    run.open_logs()
    run.log({"step": 1, "loss": 0.5})
    run.close_logs()
    run.open_logs(10_000)
    run.log({"step": 2, "loss": 0.5})
    run.close_logs()
    assert [line["step"] for line in run.log_lines()] == [1, 2]
    assert b"\0" not in (tmp_path / "log.jsonl").read_bytes()


def test_truncated_last_line_is_skipped(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"stage": "prediction", "step": 1}\n{"stage": "predi')
    assert [line["step"] for line in RunFolder(tmp_path, "").log_lines()] == [1]
    assert RunFolder(tmp_path / "none", "").log_lines() == []
