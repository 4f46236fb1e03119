"""Whole runs of `--stage joint` on the demo set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, distill, logged, record
from tinybert.errors import UserError

STUDENT = ("--student_layers", "3", "--student_hidden", "16", "--student_heads", "4", "--max_seq_length", "32")
SCHEMES = ("--token_scheme", "attention_no_sep", "--hidden_scheme", "importance_mask_dynamic", "--config_3d", "2l_4t_0.2h")


def run(teacher, output, *more) -> None:
    words = ("--task_name", "demo", "--teacher_path", teacher, "--output_dir", output)
    distill(*words, "--max_steps", "8", "--learning_rate", "1e-2", *STUDENT, *QUICK, *more)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--stage", "joint"), {"embd", "hidn", "attn", "pred"}),
        (("--stage", "joint", "--use_att", "False", "--alpha", "0.5"), {"embd", "hidn", "pred", "gold"}),
        (("--stage", "joint", "--use_pred", "False", "--ablation", "attn"), {"embd", "hidn", "gold"}),
        (("--method", "mud", "--repr_distill", "--pred_distill", *SCHEMES), {"hidn", "pred"}),
        (("--method", "mud", "--preset", "mud", "--stage", "joint", *SCHEMES), {"hidn", "pred"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_joint_stage_logs_all_parts_and_the_layers_learn(teacher, tmp_path, more, parts):
    run(teacher, tmp_path / "run", *more)
    lines = logged(tmp_path / "run", "prediction")
    assert {"embd", "hidn", "attn", "pred", "gold"} & set(lines[-1]) == parts
    assert all(lines[-1][part] < lines[0][part] for part in parts & {"hidn", "embd"})
    half = {"pred", "gold"} if "0.5" in more else set()
    assert lines[-1]["loss"] == pytest.approx(sum(lines[-1][part] * (0.5 if part in half else 1) for part in parts))
    facts = record(tmp_path / "run", "prediction")
    assert facts["layer_map"] and facts["projection"]["mode"] == "shared"
    results = json.loads((tmp_path / "run" / "eval_results.json").read_text())["prediction"]
    assert "accuracy" in results["final"] and (tmp_path / "run" / "best_model" / "config.json").is_file()


@pytest.mark.both_lanes
def test_joint_run_is_not_resumed_as_another_stage(teacher, tmp_path):
    more = ("--stage", "joint", "--checkpoint_steps", "4", "--logging_steps", "1")
    run(teacher, tmp_path / "through", *more)
    run(teacher, tmp_path / "stopped", *more, "--max_steps", "4", "--lr_schedule", "constant")
    with pytest.raises(UserError, match="layer_map: was 'uniform', is None"):
        run(teacher, tmp_path / "stopped", "--stage", "prediction", "--lr_schedule", "constant", "--resume", "auto")
    assert np.isfinite(logged(tmp_path / "through", "prediction")[-1]["loss"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--stage", "joint", "--method", "emd"), "--method emd has no intermediate stage"),
        (("--stage", "joint", "--method", "none"), "--method none has no intermediate stage"),
        (
            ("--stage", "joint", "--use_rep", "False", "--use_att", "False", "--use_embedding", "False"),
            "nothing is left to learn of the layers",
        ),
        (("--stage", "joint", "--prediction_weight", "0"), "the prediction stage has nothing to learn"),
        (("--stage", "joint", "--intermediate_distill"), "request different stages"),
    ],
)
def test_contradicting_joint_options_are_refused(teacher, tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        run(teacher, tmp_path / "run", *more)
    assert not (tmp_path / "run").exists()
