"""Gradual pruning during distillation: final shapes, exact resume, refused schedules."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.recipes.conftest import distill, finetune, logged, record
from tinybert.engine import checkpoint
from tinybert.engine.loop import Loop
from tinybert.errors import UserError
from tinybert.models.loading import load_pretrained
from tinybert.models.pruned_shapes import describe_architecture

WIDTH = ("--prune_schedule", "width", "--keep_heads", "2", "--ffn_hidden_dim", "24", "--emb_hidden_dim", "12")
BOTH = ("--prune_schedule", "both", "--num_layers", "2", "--keep_heads", "2", "--emb_hidden_dim", "12")
DEPTH = ("--prune_schedule", "depth", "--num_layers", "2")


def run(teacher, output, *more, steps=8, stage="intermediate") -> None:
    distill(
        "--task_name", "demo", "--teacher_path", teacher, "--student_init", "teacher:1,2,3,4", "--output_dir", output, "--stage", stage,
        "--max_steps", steps, "--max_seq_length", 32, "--batch_size", 8, "--learning_rate", "1e-3", "--logging_steps", 2, "--save_steps", 3,
        "--device", "cpu", "--attention_heads", "average", "--prune_period_proportion", "0.5", *more,
    )  # fmt: skip


def shape(folder) -> str:
    return describe_architecture(load_pretrained(str(folder))[0].config)


@pytest.mark.parametrize(
    ("more", "stage", "events", "expected"),
    [
        (WIDTH, "intermediate", [2, 4], "4 x 32, 2 heads of 8, feed-forward 24, embedding of rank 12"),
        (DEPTH, "intermediate", [2, 4], "2 x 32, 4 heads"),
        ((*DEPTH, "--projection", "per_layer"), "intermediate", [2, 4], "2 x 32, 4 heads"),
        (BOTH, "intermediate", [1, 2, 3, 4], "2 x 32, 2 heads of 8, feed-forward 64, embedding of rank 12"),
        (BOTH, "prediction", [1, 2, 3, 4], "2 x 32, 2 heads of 8, feed-forward 64, embedding of rank 12"),
        ((*DEPTH, "--pad_embedding", "frozen", "--optimizer", "bertadam"), "prediction", [2, 4], "2 x 32, 4 heads"),
    ],
    ids=str,
)
def test_student_ends_with_the_planned_shape(teacher, tmp_path, more, stage, events, expected):
    run(teacher, tmp_path, *more, stage=stage)
    best, final = ("best_inter_model", "final_inter_model") if stage == "intermediate" else ("best_model", "final")
    assert shape(tmp_path / best) == shape(tmp_path / final) == expected
    told = record(tmp_path, stage)
    assert [int(event.split("update ")[1].split(":")[0]) for event in told["pruning"]] == events
    assert told["pruned"] == {"shape": expected, "parameters": load_pretrained(str(tmp_path / final))[0].parameters()}
    assert told["best"]["step"] > events[-1]
    losses = [line["loss"] for line in logged(tmp_path, stage)]
    assert len(losses) == 4 and np.isfinite(losses).all()


@pytest.mark.both_lanes
def test_projection_keeps_its_weights_when_a_layer_is_removed(teacher, tmp_path, monkeypatch):
    from tinybert.recipes import gradual_pruning

    real, kept = gradual_pruning._fit_objective, []

    def fit(layer, *words):
        before = layer.objective.projection.arrays()
        real(layer, *words)
        after = layer.objective.projection.arrays()
        assert set(after) < set(before)
        kept.extend((before[name] == array).all() for name, array in after.items())

    monkeypatch.setattr(gradual_pruning, "_fit_objective", fit)
    run(teacher, tmp_path, *DEPTH, "--projection", "per_layer", "--warmup_proportion", "0")
    assert len(kept) == 2 * (4 + 3) and all(kept)


def test_pruning_on_several_processes_is_refused(teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(UserError, match="--prune_schedule supports only a single process"):
        run(teacher, tmp_path / "run", *WIDTH)
    with pytest.raises(UserError, match="--compute_taylor supports only a single process"):
        finetune("--task_name", "demo", "--model_name_or_path", teacher, "--compute_taylor", "True", "--output_dir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Killed(BaseException):
    """Simulates SIGKILL."""


@pytest.mark.parametrize("at", [1, 3, 4, 6])
def test_stopped_run_resumes_exactly(teacher, tmp_path, monkeypatch, at):
    more = (*BOTH, "--checkpoint_steps", "1", "--keep_checkpoints", "2", "--prune_period_proportion", "0.6", "--max_steps", "7")
    run(teacher, tmp_path / "whole", *more)
    real = Loop._one_step

    def one_step(self, stop):
        if self.step == at:
            raise Killed
        return real(self, stop)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Loop, "_one_step", one_step)
        run(teacher, tmp_path / "cut", *more)
    run(teacher, tmp_path / "cut", *more, "--resume", "auto")
    whole, cut = (checkpoint.read(checkpoint.newest(tmp_path / name / "checkpoints" / "intermediate")) for name in ("whole", "cut"))
    for part in ("weights", "optimizer", "participants"):
        one, other = getattr(whole, part), getattr(cut, part)
        assert set(one) == set(other) and len(one) > 0
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)
    assert whole.state["best"] == cut.state["best"]
    files = [(tmp_path / name / "final_inter_model" / "model_state.pdparams").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_second_stage_does_not_prune_again(teacher, tmp_path):
    run(teacher, tmp_path, *WIDTH, stage="both", steps=4)
    assert "prune_schedule" in record(tmp_path, "intermediate")["settings"]
    assert "prune_schedule" not in record(tmp_path, "prediction")["settings"]
    assert shape(tmp_path / "best_model") == shape(tmp_path / "best_inter_model")
    assert json.loads((tmp_path / "best_model" / "config.json").read_text())["embedding_rank"] == 12


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--keep_heads", "2"), "--keep_heads needs --prune_schedule"),
        (("--prune_schedule", "width"), "needs --keep_heads, --ffn_hidden_dim or --emb_hidden_dim"),
        (("--prune_schedule", "depth"), "needs --num_layers"),
        ((*DEPTH, "--keep_heads", "2"), "--prune_schedule depth does not use --keep_heads"),
        ((*WIDTH, "--num_layers", "2"), "--prune_schedule width does not use --num_layers"),
        ((*WIDTH, "--keep_heads", "5"), "--keep_heads 5 exceeds the model's 4 heads"),
        ((*DEPTH, "--num_layers", "4"), "has nothing to prune"),
        ((*WIDTH, "--attention_heads", "match"), "--prune_schedule width removes heads"),
        ((*WIDTH, "--max_steps", "3"), "prunes 2 times, but 0.5 of 3 updates"),
        ((*DEPTH, "--layer_map", "0:0,4:4"), "the pair 4:4 is out of range"),
        ((*WIDTH, "--stage", "prediction", "--method", "emd"), "--prune_schedule and --method emd cannot be combined"),
    ],
    ids=str,
)
def test_impossible_schedule_is_refused(teacher, tmp_path, more, message):
    with pytest.raises(UserError) as caught:
        run(teacher, tmp_path / "run", *more)
    assert message in str(caught.value) and not (tmp_path / "run").exists()
