"""Files of a user or of another stage in an output folder are kept."""

from __future__ import annotations

import json

import pytest

from tinybert.engine.run_folder import RunFolder
from tinybert.errors import UserError


def test_model_folder_without_a_record_is_not_replaced_by_default(tmp_path):
    (tmp_path / "best_model").mkdir()
    (tmp_path / "best_model" / "notes.txt").write_text("mine")
    run = RunFolder(tmp_path, "prediction")
    with pytest.raises(UserError, match="already holds best_model"):
        run.check_existing_results(resume=False, overwrite=False, models=("best_model", "final"))
    run.check_existing_results(resume=False, overwrite=True, models=("best_model", "final"))
    assert (tmp_path / "best_model" / "notes.txt").read_text() == "mine"


def test_resuming_one_stage_keeps_the_log_lines_of_another(tmp_path):
    first, second = RunFolder(tmp_path, "intermediate"), RunFolder(tmp_path, "prediction")
    first.open_logs()
    first.log({"step": 1, "loss": 2.0})
    position = first.log_position()
    first.log({"step": 2, "loss": 1.0})
    first.close_logs()
    second.open_logs()
    second.log({"step": 1, "loss": 0.5})
    second.close_logs()
    first.open_logs(position)
    first.log({"step": 2, "loss": 1.5})
    first.close_logs()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["loss"]) for line in lines] == [("intermediate", 2.0), ("prediction", 0.5), ("intermediate", 1.5)]
