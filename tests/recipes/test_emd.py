"""Whole runs of `--method emd` on the demo set: their outputs, and every combination of loss parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, distill, finetune, logged, record
from tinybert.errors import UserError

STUDENT = ("--student_layers", "2", "--student_hidden", "16", "--student_heads", "4", "--max_seq_length", "32")


def run(teacher, output, *more, task="demo", student=STUDENT) -> None:
    words = ("--task_name", task, "--teacher_path", teacher, "--output_dir", output, "--method", "emd", "--max_steps", "5")
    distill(*words, *student, *QUICK, *more)


@pytest.mark.both_lanes
@pytest.mark.usefixtures("plots")
def test_run_logs_and_plots_its_layer_weights(teacher, tmp_path, capsys):
    run(teacher, tmp_path / "run", "--beta", "1", "--learning_rate", "1e-3", "--max_steps", "9")
    shown = capsys.readouterr().out
    assert "method emd, stage prediction (--method emd)" in shown
    assert "loss = 1 attn + 1 hidn + 1 embd + 1 pred" in shown
    lines = logged(tmp_path / "run", "prediction", "arrays")
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 9]
    last = {name: np.array(array) for name, array in lines[-1]["arrays"].items()}
    assert last["attn_flow"].shape == last["hidn_cost"].shape == (2, 4)
    for name in ("attn_student", "attn_teacher", "hidn_student", "hidn_teacher"):
        assert last[name].sum() == pytest.approx(1.0)
    assert np.ptp(last["hidn_teacher"]) > 0 and (last["attn_student"] == last["hidn_student"]).all()
    for name in ("plots/emd_flow.png", "plots/emd_weights.png", "plots/prediction.png", "best_model/model_state.pdparams"):
        assert (tmp_path / "run" / name).stat().st_size > 1000, name
    losses = [line["loss"] for line in logged(tmp_path / "run", "prediction")]
    assert losses[-1] < losses[0]
    assert record(tmp_path / "run", "prediction")["projection"] == {"mode": "shared", "origin": "fresh"}
    results = json.loads((tmp_path / "run" / "eval_results.json").read_text())["prediction"]
    assert "accuracy" in results["best"]


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--use_rep", "False"), "attn embd pred"),
        (("--use_att", "False"), "hidn embd pred"),
        (("--use_embedding", "False"), "attn hidn pred"),
        (("--use_rep", "False", "--use_embedding", "False"), "attn pred"),
        (("--alpha", "0.5", "--seperate", "--share_param", "False"), "attn hidn embd pred gold"),
        (("--use_pred", "False"), "attn hidn embd gold"),
        (("--new_pred_loss", "False", "--T", "2"), "attn hidn embd pred"),
        (("--beta", "0"), "pred"),
        (("--theta", "0"), "embd pred"),
        (("--attention_weight", "0"), "hidn embd pred"),
        (("--hidden_weight", "0", "--embedding_weight", "0"), "attn pred"),
        (("--prediction_weight", "0"), "attn hidn embd"),
        (("--preset", "emd"), "attn hidn embd pred"),
    ],
    ids=lambda words: words if isinstance(words, str) else " ".join(words),
)
def test_options_select_the_parts_that_are_learned(teacher, tmp_path, more, parts):
    run(teacher, tmp_path / "run", *more)
    line = logged(tmp_path / "run", "prediction")[-1]
    parts = set(parts.split())
    assert parts == {"attn", "hidn", "embd", "pred", "gold"} & line.keys()
    lines = logged(tmp_path / "run", "prediction", "arrays")
    assert {kind for kind in ("attn", "hidn") if lines and f"{kind}_flow" in lines[-1]["arrays"]} == parts & {"attn", "hidn"}


def test_different_head_counts_need_attention_heads_average(teacher, tmp_path):
    student = ("--student_layers", "2", "--student_hidden", "16", "--student_heads", "2", "--max_seq_length", "32")
    with pytest.raises(UserError, match="--attention_heads average"):
        run(teacher, tmp_path / "refused", student=student)
    run(teacher, tmp_path / "run", "--attention_heads", "average", student=student)
    run(teacher, tmp_path / "hidden", "--use_att", "False", student=student)


def test_regression_learns_layers_and_predictions(encoder, sts_folder, tmp_path):
    common = ("--task_name", "STS-B", "--data_dir", sts_folder, "--max_seq_length", "64", *QUICK)
    finetune("--model_name_or_path", encoder, "--output_dir", tmp_path / "teacher", "--max_steps", "4", *common)
    run(tmp_path / "teacher", tmp_path / "run", "--data_dir", sts_folder, "--max_seq_length", "64", task="STS-B", student=STUDENT[:-2])
    assert {"attn", "hidn", "embd", "pred"} <= logged(tmp_path / "run", "prediction")[-1].keys()


def test_depth_of_the_student_folder_selects_the_preset_values(teacher, tmp_path, capsys):
    run(teacher, tmp_path / "first")
    folder = tmp_path / "first" / "best_model"
    capsys.readouterr()
    run(teacher, tmp_path / "second", "--preset", "emd", student=("--student_model_name_or_path", folder, "--max_seq_length", "32"))
    shown = capsys.readouterr()
    assert "preset emd has no values for a student of 2 layers: using those for 4" in shown.err
    assert "preset emd, demo with 4 layers" in shown.out
