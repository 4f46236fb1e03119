"""The teacher's filter: it reads rows in the form in which the teacher was trained on them."""

from __future__ import annotations

import types

import pytest

from tests.tiny import WORDS, model_folder
from tinybert.augment.teacher_filter import TeacherFilter
from tinybert.errors import UserError


def test_rows_beyond_the_positions_of_a_roberta_are_given_to_it(tmp_path):
    model_folder(tmp_path / "teacher", "roberta")
    settings = types.SimpleNamespace(teacher_path=str(tmp_path / "teacher"), do_lower_case=None, filter_keep=0.5, filter_length=20)
    task = types.SimpleNamespace(regression=False, bounds=None, labels=("no", "yes"))
    with pytest.raises(UserError, match="--filter_length 20 is more than the 19 positions of the teacher"):
        TeacherFilter.load(settings, task)
    settings.filter_length = 19
    teacher = TeacherFilter.load(settings, task)
    assert teacher._outputs([(" ".join(WORDS[5:]),)]).shape == (1, 2)
