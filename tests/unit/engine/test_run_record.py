"""The schema of run.json."""

from __future__ import annotations

import json

import pytest

from tinybert.engine.run_folder import RunFolder
from tinybert.engine.run_record import SCHEMA, ModelEntry, RunRecord, Setting, read_entries, write_record
from tinybert.errors import UserError


def test_record_reads_back_as_written(tmp_path):
    model = ModelEntry("m/model_state.pdparams", "0" * 64, "bert", 2, 16, 2, 1000, [], ["x"])
    record = RunRecord(started="2026-01-01T00:00:00+00:00", settings={"seed": Setting(42, "default")}, models={"student": model}, steps=3)
    write_record(tmp_path, "prediction", record)
    entry = read_entries(tmp_path / "run.json")["prediction"]
    assert entry["schema"] == SCHEMA and entry["finished"] is None and "device" not in entry
    assert entry["settings"]["seed"] == {"value": 42, "source": "default"} and entry["models"]["student"]["layers"] == 2
    assert RunRecord.of(entry).as_json() == entry


def test_jobs_in_one_folder_keep_separate_records(tmp_path):
    write_record(tmp_path, "prediction", RunRecord(steps=3))
    write_record(tmp_path, "comparison", RunRecord("comparison", details={"scores": {"a": 1.0}}))
    assert {name: entry["kind"] for name, entry in read_entries(tmp_path / "run.json").items()} == {
        "prediction": "stage",
        "comparison": "comparison",
    }
    write_record(tmp_path, "prediction", None)
    assert list(read_entries(tmp_path / "run.json")) == ["comparison"]


def test_record_of_version_0_1_is_continued(tmp_path):
    old = {
        "finetune": {"started": "t", "finished": "u", "seconds": 1.5, "projection": {"mode": "none"}, "settings": {"seed": {"value": 1}}}
    }
    (tmp_path / "run.json").write_text(json.dumps(old))
    RunFolder(tmp_path, "finetune").update_record(steps=4)
    assert read_entries(tmp_path / "run.json")["finetune"] == {**old["finetune"], "schema": SCHEMA, "kind": "stage", "steps": 4}


def test_record_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        write_record(tmp_path, "finetune", RunRecord())
