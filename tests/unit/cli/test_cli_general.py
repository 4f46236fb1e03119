"""The command line of general distillation: published lines, presets, and options without effect."""

from __future__ import annotations

import shlex

import pytest

from tinybert.cli.parser import parse
from tinybert.commands.general import GeneralDistillConfig
from tinybert.errors import UserError

HUAWEI = (
    "--pregenerated_data c --teacher_model bert --student_model config --output_dir o --max_seq_length 128 --reduce_memory --do_eval "
    "--do_lower_case --train_batch_size 256 --eval_batch_size 8 --learning_rate 5e-5 --wd 1e-4 --num_train_epochs 3 --warmup_proportion .1 "
    "--no_cuda --local_rank -1 --seed 42 --gradient_accumulation_steps 1 --fp16 --continue_train --eval_step 1000 --data_url x"
)
PADDLENLP = (
    "--model_type tinybert --teacher_model_type bert --input_dir d --teacher_model_name_or_path bert --student_model_name_or_path s "
    "--output_dir o --glue_dir g --max_seq_length 128 --learning_rate 1e-4 --num_train_epochs 3 --logging_steps 100 --save_steps 100 "
    "--batch_size 32 --T 1 --weight_decay .01 --warmup_steps 10000 --warmup_proportion 0 --adam_epsilon 1e-8 --max_steps -1 --seed 42 "
    "--device gpu"
)
BASE = "--pregenerated_data c --teacher_path t --student_layers 4 --output_dir o "


def resolved(line: str, data_length: int | None = 128):
    parsed = parse(GeneralDistillConfig, shlex.split(line))
    return parsed.resolve(data_length)


def test_published_huawei_general_command_keeps_its_options(capsys):
    parsed = parse(GeneralDistillConfig, shlex.split(HUAWEI))
    arguments = parsed
    assert (arguments.teacher_path, arguments.student_model_name_or_path, arguments.batch_size) == ("bert", "config", 256)
    assert (arguments.weight_decay, arguments.device, arguments.save_steps, arguments.continue_train) == (1e-4, "cpu", 1000, True)
    said = capsys.readouterr().err
    assert all(name in said for name in ("--reduce_memory", "--do_eval", "--local_rank", "--fp16", "--data_url"))


def test_published_paddlenlp_general_command_keeps_its_options(capsys):
    result = resolved(PADDLENLP + " --preset paddlenlp", None)
    settings = result["general"]
    assert (settings.optimizer, settings.warmup_steps, settings.sequences, settings.layer_map) == ("adam", 10000, "lines", "double")
    assert any("stops after its first step" in str(line) for line in result.warnings)
    said = capsys.readouterr().err
    assert "--T" in said and "--glue_dir" in said


PRESETS = {
    "sound": {"learning_rate": 1e-4, "batch_size": 32, "optimizer": "adamw", "teacher_mode": "eval", "attention_reduction": "masked"},
    "paper": {"learning_rate": 1e-4, "batch_size": 256, "warmup_steps": 10000, "num_train_epochs": 3.0},
    "huawei": {"learning_rate": 5e-5, "optimizer": "bertadam", "lr_schedule": "linear", "warmup_proportion": 0.1, "teacher_mode": "train",
               "projection": "shared", "attention_reduction": "zeroed", "pad_to_max_length": True, "drop_last": True, "weight_decay": 0.01},
    "paddlenlp": {"learning_rate": 1e-4, "optimizer": "adam", "adam_epsilon": 1e-8, "weight_decay": 0.01, "projection": "per_layer",
                  "max_grad_norm": 0.0, "attention_reduction": "raw", "warmup_steps": 10000},
}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_general_presets_are_applied(preset):
    settings = resolved(BASE + f"--preset {preset}")["general"]
    assert {name: getattr(settings, name) for name in PRESETS[preset]} == PRESETS[preset]
    assert settings.sources["learning_rate"] == f"preset {preset}"


def test_given_warmup_proportion_overrides_the_presets_warmup_steps():
    settings = resolved(BASE + "--preset paddlenlp --warmup_proportion 0.2")["general"]
    assert (settings.warmup_steps, settings.warmup_proportion) == (0, 0.2)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("--relation_heads 12", "relation_heads"),
        ("--relation_layers 4:6", "relation_layers"),
        ("--method relation --layer_map top", "layer_map"),
        ("--method relation --attention_weight 2", "attention_weight"),
        ("--use_att False --attention_heads average", "attention_heads"),
        ("--sequences lines", "sequences"),
        ("--lr_schedule constant --warmup_steps 5", "warmup_steps"),
        ("--optimizer bertadam --grad_clip global", "grad_clip"),
        ("--amp_dtype bfloat16", "amp_dtype"),
        ("--checkpoint_steps 5 --checkpoint_minutes 3", "checkpoint_minutes"),
    ],
)
def test_general_options_without_effect_are_reported(more, name):
    result = resolved(BASE + more)
    assert name in [entry.name for entry in result.unused]
    assert any(f"--{name}" in str(line) for line in result.warnings)


def test_length_of_the_data_overrides_the_presets():
    assert resolved(BASE, 64)["general"].max_seq_length == 64
    assert resolved(BASE.replace("pregenerated_data", "input_dir"), None)["general"].max_seq_length == 128


@pytest.mark.parametrize(
    "more", ["--relation_layers 0:1", "--relation_layers last", "--layer_map 1-2", "--resume auto --overwrite_output_dir"]
)
def test_malformed_general_option_is_refused_while_parsing(more):
    with pytest.raises(UserError):
        parse(GeneralDistillConfig, shlex.split(BASE + more))
