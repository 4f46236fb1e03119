"""The teacher filter formats rows as the teacher saw them in training."""

from __future__ import annotations

import types

import numpy as np
import pytest

from tests.tiny import WORDS, loaded, model_folder
from tinybert.augment.teacher_filter import TeacherFilter
from tinybert.data.store import TokenStore
from tinybert.data.tasks import Task, get_task
from tinybert.errors import UserError
from tinybert.recipes.evaluate import predict

LENGTH = 12
PIECES = WORDS[5:]


def text(count: int, begin: int) -> str:
    return " ".join(PIECES[(begin + i) % len(PIECES)] for i in range(count))


@pytest.mark.parametrize("task", ["RTE", "SST-2"])
def test_filter_feeds_rows_as_the_teacher_saw_them_in_training(tmp_path, task, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    lengths = [(3, 2), (6, 6), (5, 5), (7, 4), (4, 9), (12, 12), (0, 14), (1, 1)]  # equally long texts are truncated in the second
    rows = [(text(a, i), text(b, 3 * i + 1)) for i, (a, b) in enumerate(lengths)]
    if task == "RTE":
        lines = ["index\tsentence1\tsentence2\tlabel", *(f"{i}\t{a}\t{b}\tentailment" for i, (a, b) in enumerate(rows))]
    else:
        rows = [(f"{a} {b}".strip(),) for a, b in rows]
        lines = ["sentence\tlabel", *(f"{a}\t1" for (a,) in rows)]
    (tmp_path / "dev.tsv").write_text("\n".join(lines) + "\n")
    teacher = loaded()
    store = TokenStore.build_or_open(get_task(task), tmp_path, "dev", teacher.tokenizer, LENGTH)
    found = TeacherFilter(teacher, 0.5, LENGTH, get_task(task))._outputs(rows)
    np.testing.assert_allclose(found, predict(teacher.model, store, 4), rtol=1e-4, atol=1e-5)


def test_filter_length_above_roberta_max_positions_is_refused(tmp_path):
    model_folder(tmp_path / "teacher", "roberta")
    settings = types.SimpleNamespace(teacher_path=str(tmp_path / "teacher"), do_lower_case=None, filter_keep=0.5, filter_length=20)
    task = Task("t", "t", ("no", "yes"), {})
    with pytest.raises(UserError, match="--filter_length 20 exceeds the 19 positions of the teacher"):
        TeacherFilter.load(settings, task)
    settings.filter_length = 19
    teacher = TeacherFilter.load(settings, task)
    assert teacher._outputs([(text(40, 0),)]).shape == (1, 2)
