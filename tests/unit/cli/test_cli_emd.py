"""The settings of `--method emd`: published tables, conventions, and options without effect."""

from __future__ import annotations

import shlex

import pytest

from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.errors import UserError
from tinybert.kinds.registry import DEFAULT, KINDS

BASE = "--task_name x --output_dir o --teacher_path T --student_model_name_or_path S --method emd "


def resolved(more: str = "", task: str = "SST-2", depth: int | None = 4, regression: bool = False):
    parsed = parse(TaskDistillConfig, shlex.split(BASE + more))
    return parsed.resolve(task, KINDS["regression"] if regression else DEFAULT, depth)


# README of BERT-EMD, "best" table: beta, T_emd, T, learning rate
TABLE = {
    4: {"CoLA": (0.001, 5, 1, 2e-5), "MNLI": (0.005, 1, 3, 5e-5), "MRPC": (0.001, 10, 1, 2e-5), "QQP": (0.005, 1, 3, 2e-5),
        "QNLI": (0.005, 1, 3, 2e-5), "RTE": (0.005, 1, 1, 2e-5), "SST-2": (0.001, 1, 1, 2e-5), "STS-B": (0.005, 1, 1, 3e-5)},
    6: {"CoLA": (0.001, 1, 7, 2e-5), "MNLI": (0.005, 1, 1, 5e-5), "MRPC": (0.005, 1, 1, 2e-5), "QQP": (0.005, 1, 1, 2e-5),
        "QNLI": (0.001, 1, 1, 5e-5), "RTE": (0.005, 1, 1, 2e-5), "SST-2": (0.001, 1, 1, 2e-5), "STS-B": (0.005, 1, 1, 3e-5)},
}  # fmt: skip


@pytest.mark.parametrize("depth", TABLE)
@pytest.mark.parametrize("task", TABLE[4])
def test_published_emd_table_is_applied(task, depth):
    result = resolved("--preset emd --emd_rule softmax", task, depth)
    settings = result["prediction"]
    assert (settings.beta, settings.T_emd, settings.T, settings.learning_rate) == TABLE[depth][task]
    assert settings.alpha == 1.0 and not result.warnings
    assert f"preset emd, {task} with {depth} layers" in result.as_text()


def test_published_emd_conventions_are_applied():
    settings = resolved("--preset emd")["prediction"]
    assert (settings.optimizer, settings.lr_schedule, settings.grad_clip, settings.max_seq_length) == ("bertadam", "constant", "tensor", 64)
    assert (settings.attention_reduction, settings.hidden_reduction, settings.soft_ce_reduction) == ("zeroed", "mean", "mean")
    assert (settings.temperature_square, settings.projection, settings.teacher_mode) == (True, "shared", "train")
    assert (settings.num_train_epochs, settings.warmup_proportion, settings.drop_last) == (10, 0.0, True)


@pytest.mark.parametrize(("depth", "taken"), [(3, 4), (5, 6), (12, 6), (1, 4)])
def test_emd_preset_warns_about_other_depths(depth, taken):
    result = resolved("--preset emd", "CoLA", depth)
    assert TABLE[taken]["CoLA"][2] == result["prediction"].T
    (line,) = result.warnings
    assert str(line) == f"preset emd has no values for a student of {depth} layers: using those for {taken}"


def test_sound_preset_has_the_defaults_of_the_emd_script():
    result = resolved()
    settings = result["prediction"]
    assert (settings.beta, settings.theta, settings.alpha, settings.T, settings.reduce_T) == (0.01, 1, 1, 1, 1)
    assert (settings.emd_rule, settings.seperate, settings.update_weight, settings.emd_update_steps) == ("division", False, True, 1)
    assert settings.attention_reduction == "masked" and not result.warnings


@pytest.mark.parametrize(
    ("more", "regression", "names"),
    [
        ("--T_emd 5", False, ["T_emd"]),
        ("--add_softmax True", False, ["add_softmax"]),
        ("--T_emd 5 --add_softmax False --emd_rule softmax", False, []),
        ("--update_weight False --seperate --emd_update_steps 3", False, ["seperate", "emd_update_steps"]),
        ("--use_att False --seperate --attention_reduction zeroed", False, ["seperate", "attention_reduction"]),
        ("--use_rep False --use_embedding False --share_param True", False, ["share_param"]),
        ("--layer_map top", False, ["layer_map"]),
        ("--beta 0 --theta 2", False, ["theta"]),
        (
            "--beta 0 --attention_weight 2 --hidden_reduction mean --share_param True",
            False,
            ["attention_weight", "hidden_reduction", "share_param"],
        ),
        ("--theta 0 --seperate --emd_rule softmax --attention_reduction zeroed", False, ["seperate", "emd_rule", "attention_reduction"]),
        ("--theta 0 --projection shared --hidden_reduction mean", False, []),
        ("--theta 0 --use_embedding False --projection shared", False, ["projection"]),
        ("--attention_weight 0 --attention_reduction zeroed", False, ["attention_reduction"]),
        ("--hidden_weight 0 --embedding_weight 0 --projection shared", False, ["projection"]),
        ("--prediction_weight 0 --T 2 --alpha 0.5", False, ["T", "alpha"]),
        ("--new_pred_loss False --alpha 0.5 --reduce_T 2", False, ["alpha", "reduce_T"]),
        ("--reduce_T 2 --T 3", True, ["reduce_T", "T"]),
        ("--use_pred False --reduce_T 2", False, ["reduce_T"]),
    ],
)
def test_emd_options_without_effect_are_reported(more, regression, names):
    result = resolved(more, regression=regression)
    assert sorted(entry.name for entry in result.unused) == sorted(names)
    assert len(result.warnings) == len(names)
    assert all(f"unused: {entry.reason}" in result.as_text() for entry in result.unused)


@pytest.mark.parametrize(("value", "projection"), [("True", "shared"), ("False", "per_layer")])
def test_share_param_sets_the_projection(value, projection):
    result = resolved(f"--share_param {value}")
    assert result["prediction"].projection == projection
    assert "given (share_param)" in result.as_text() and not result.unused


@pytest.mark.parametrize("more", ["--use_att False --use_rep False", "--ablation trm", "--attention_weight 0 --hidden_weight 0"])
def test_emd_with_nothing_to_transport_is_refused(more):
    with pytest.raises(UserError, match="nothing to transport"):
        resolved(more)


def test_tinybert_settings_list_no_emd_options():
    parsed = parse(TaskDistillConfig, shlex.split(BASE.replace("--method emd", "--stage both")))
    text = parsed.resolve("SST-2", DEFAULT).as_text()
    assert "beta" not in text and "emd" not in text
