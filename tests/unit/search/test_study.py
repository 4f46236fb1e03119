"""The study of a search: what Optuna leaves to its user."""

from __future__ import annotations

import pytest

from tinybert.errors import UserError
from tinybert.search.space import Parameter

pytest.importorskip("optuna", reason="the extra `search` is not installed")
from tinybert.search.study import next_trial, open_study, recover, run_of  # noqa: E402  optuna is optional

SPACE = [Parameter("learning_rate", 1e-5, 1e-3, log=True), Parameter("T", choices=(1.0, 2.0))]


def test_a_resumed_search_tries_other_points(tmp_path):
    tried = []
    for _ in range(3):  # each time as a new process would
        study = open_study(tmp_path / "journal.log", "maximize")
        trial, values = next_trial(study, SPACE, seed=42)
        study.tell(trial, 0.5)
        tried.append(values["learning_rate"])
    assert len(set(tried)) == 3


def test_two_searches_of_a_seed_try_the_same(tmp_path):
    tried = [next_trial(open_study(tmp_path / name, "maximize"), SPACE, seed=7)[1] for name in ("a", "b")]
    assert tried[0] == tried[1]


def test_a_study_of_the_other_direction_is_refused(tmp_path):
    open_study(tmp_path / "journal.log", "maximize")
    with pytest.raises(UserError, match="is to maximize, expected minimize"):
        open_study(tmp_path / "journal.log", "minimize")


def test_a_trial_that_was_killed_is_tried_again_in_its_folder(tmp_path):
    killed, values = next_trial(open_study(tmp_path / "journal.log", "maximize"), SPACE, seed=42)
    for _ in range(2):  # killed once more
        study = open_study(tmp_path / "journal.log", "maximize")
        recover(study)
        again, found = next_trial(study, SPACE, seed=42)
        assert found == values and again.number > killed.number and run_of(again) == run_of(killed)
    study.tell(again, 0.5)
    recover(study)
    fresh, found = next_trial(study, SPACE, seed=42)
    assert found != values and run_of(fresh) == f"{fresh.number:04d}"
