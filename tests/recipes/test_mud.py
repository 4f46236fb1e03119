"""Whole runs of `--method mud` on the demo set."""

from __future__ import annotations

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, distill, logged, record
from tinybert.errors import UserError

STUDENT = ("--student_layers", "3", "--student_hidden", "16", "--student_heads", "4", "--max_seq_length", "32")
SCHEMES = ("--token_scheme", "attention_no_sep", "--hidden_scheme", "importance_mask_dynamic", "--config_3d", "2l_4t_0.2h")


def run(teacher, output, *more, stage="intermediate", student=STUDENT) -> None:
    words = ("--task_name", "demo", "--teacher_path", teacher, "--output_dir", output, "--method", "mud", "--stage", stage)
    distill(*words, "--max_steps", "5", *student, *QUICK, *more)


@pytest.mark.both_lanes
def test_both_stages_train_hidden_states_then_logits(teacher, tmp_path, capsys):
    run(teacher, tmp_path / "run", *SCHEMES, "--learning_rate", "1e-2", "--max_steps", "16", stage="both")
    shown = capsys.readouterr().out
    assert "loss = 1 hidn" in shown and "2 entries, 4 positions (attention_no_sep), 0.2 of the hidden entries" in shown
    facts = record(tmp_path / "run", "intermediate")
    assert facts["layer_map"] == [[2, 3], [3, 4]] and facts["token_layers"] == [2, 3]
    losses = [line["hidn"] for line in logged(tmp_path / "run", "intermediate")]
    assert losses[-1] < losses[0]
    assert "pred" in logged(tmp_path / "run", "prediction")[-1]


@pytest.mark.parametrize(
    "more",
    [
        (),
        ("--layer_scheme", "t_top3", "--keep_layers", "1"),
        ("--s_layer_indices", "1", "3", "--t_layer_indices", "1", "4", "--token_scheme", "attention", "--keep_tokens", "3"),
        ("--token_scheme", "left_first", "--keep_tokens", "6", "--hidden_scheme", "rand_mask", "--keep_hidden", "0.3"),
        ("--preset", "mud", *SCHEMES),
        ("--preset", "mud", "--hidden_scheme", "uniform_mask", "--keep_hidden", "0.25", "--gradient_accumulation_steps", "2"),
    ],
    ids=" ".join,
)
def test_every_selection_trains(teacher, tmp_path, more):
    run(teacher, tmp_path / "run", *more)
    assert all(np.isfinite(line["hidn"]) and line["hidn"] > 0 for line in logged(tmp_path / "run", "intermediate"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--keep_layers", "5"), "--keep_layers 5 is too large: a student of 3 layers has 4 entries"),
        (("--layer_scheme", "t_top12"), "the teacher has 4"),
        (("--layer_scheme", "t_top2"), "fewer layers than the student"),
        (("--hidden_scheme", "uniform_mask", "--keep_hidden", "0.01"), "keeps none of the 32 dimensions"),
        (("--s_layer_indices", "4", "--t_layer_indices", "4"), "is out of range"),
    ],
)
def test_keeping_more_than_there_is_is_refused(teacher, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        run(teacher, tmp_path / "run", *more)
    assert not (tmp_path / "run").exists()


def test_first_step_is_unmasked_once_across_resuming(teacher, tmp_path):
    more = (
        "--preset",
        "mud",
        "--hidden_scheme",
        "uniform_mask",
        "--keep_hidden",
        "0.25",
        "--logging_steps",
        "1",
        "--checkpoint_steps",
        "2",
    )
    run(teacher, tmp_path / "through", *more)
    run(teacher, tmp_path / "stopped", *more, "--max_steps", "4")
    through = [line["hidn"] for line in logged(tmp_path / "through", "intermediate")]
    stopped = [line["hidn"] for line in logged(tmp_path / "stopped", "intermediate")]
    assert stopped == through[:4]
    unmasked = through[0]
    assert unmasked > 1.2 * through[1]  # the whole teacher once, then a quarter of it
    (checkpoint,) = (tmp_path / "stopped" / "checkpoints" / "intermediate").glob("step_*4")
    run(teacher, tmp_path / "stopped", *more, "--resume", checkpoint, "--resume_changed")
    assert logged(tmp_path / "stopped", "intermediate")[-1]["hidn"] == pytest.approx(through[-1], rel=1e-6)
