"""Presets are applied, explicit options override them, and options without effect are reported."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.finetune import FinetuneConfig
from tinybert.commands.registry import find_command
from tinybert.config import preset as preset_module
from tinybert.config.preset import read_preset
from tinybert.errors import UserError
from tinybert.kinds.registry import DEFAULT, KINDS

BASE = "--task_name x --output_dir o --teacher_path T --student_model_name_or_path S "


def resolved(more: str = "", stage: str = "both", task: str = "SST-2", regression: bool = False):
    config = parse(TaskDistillConfig, shlex.split(f"{BASE}{more} --stage {stage}"))
    return config.resolve(task, KINDS["regression"] if regression else DEFAULT)


def finetune(more: str = "", task: str = "SST-2"):
    parsed = parse(FinetuneConfig, shlex.split("--task_name x --model_name_or_path M " + more))
    return parsed.resolve(task)


def source(result, stage: str, name: str) -> str:
    return {row[0]: row[2] for row in result[stage].as_table()}[name]


def test_sound_is_the_default_and_counts_no_padding():
    result = resolved()
    intermediate, prediction = result["intermediate"], result["prediction"]
    assert result.preset == "sound" and not result.unused and not result.warnings
    assert (intermediate.teacher_mode, intermediate.teacher_head) == ("eval", "trained")
    assert (intermediate.attention_reduction, intermediate.hidden_reduction) == ("masked", "masked")
    assert (intermediate.layer_map, intermediate.projection, intermediate.pad_embedding) == ("uniform", "auto", "free")
    assert (prediction.soft_ce_reduction, prediction.temperature_square, prediction.T, prediction.alpha) == (
        "sum",
        True,
        1.0,
        1.0,
    )
    assert (intermediate.learning_rate, prediction.learning_rate) == (5e-5, 3e-5)
    assert (intermediate.num_train_epochs, prediction.num_train_epochs) == (20, 3.0)
    assert (intermediate.optimizer, intermediate.weight_decay, intermediate.max_grad_norm, intermediate.grad_clip) == (
        "adamw", 0.01, 1.0, "global",
    )  # fmt: skip
    assert (intermediate.lr_schedule, intermediate.warmup_proportion, intermediate.warmup_steps) == ("linear", 0.1, 0)
    assert intermediate.drop_last is False and intermediate.pad_to_max_length is False


@pytest.mark.parametrize(
    ("task", "epochs", "length"),
    [("CoLA", 50, 64), ("SST-2", 20, 64), ("MNLI", 10, 128), ("QQP", 10, 128), ("STS-B", 20, 128), ("demo", 20, 64), ("reviews", 20, 128)],
)
def test_sound_numbers_depend_on_the_task(task, epochs, length):
    settings = resolved(task=task)["intermediate"]
    assert (settings.num_train_epochs, settings.max_seq_length) == (epochs, length)


@pytest.mark.parametrize(
    ("task", "epochs", "length"),
    [("CoLA", 50, 64), ("MNLI", 5, 128), ("MRPC", 20, 128), ("SST-2", 10, 64), ("STS-B", 20, 128), ("QQP", 5, 128), ("QNLI", 10, 128),
     ("RTE", 20, 128)],
)  # fmt: skip
def test_huawei_preset_applies_the_unused_table_of_its_script(task, epochs, length):
    settings = resolved("--preset huawei", task=task)["intermediate"]
    assert (settings.num_train_epochs, settings.max_seq_length) == (epochs, length)


def test_huawei_preset_has_the_conventions_of_its_script():
    result = resolved("--preset huawei", task="MRPC")
    first, second = result["intermediate"], result["prediction"]
    assert (first.teacher_mode, first.teacher_head, first.pad_embedding) == ("train", "relu", "frozen")
    assert (first.attention_reduction, first.hidden_reduction, first.projection) == ("zeroed", "mean", "shared")
    assert (first.optimizer, first.adam_epsilon, first.weight_decay, first.max_grad_norm, first.grad_clip) == (
        "bertadam", 1e-6, 0.01, 1.0, "tensor",
    )  # fmt: skip
    assert (first.lr_schedule, first.warmup_proportion, first.drop_last, first.pad_to_max_length) == (
        "constant",
        0.0,
        True,
        True,
    )
    assert (second.lr_schedule, second.warmup_proportion, second.learning_rate, second.num_train_epochs) == (
        "linear",
        0.1,
        3e-5,
        3.0,
    )
    assert (second.soft_ce_reduction, second.temperature_square) == ("mean", False)
    assert resolved("--preset huawei", stage="prediction", regression=True)["prediction"].regression_target == "gold"


def test_paddlenlp_preset_has_the_conventions_of_its_script():
    result = resolved("--preset paddlenlp", task="MNLI")
    first, second = result["intermediate"], result["prediction"]
    assert (first.layer_map, first.projection, first.attention_reduction, first.hidden_reduction) == (
        "double",
        "per_layer",
        "raw",
        "mean",
    )
    assert (first.weight_decay, first.max_grad_norm, first.grad_clip, first.num_train_epochs) == (0.0, 0.0, None, 10)
    assert (first.teacher_mode, first.teacher_head, first.lr_schedule) == ("train", "trained", "linear")
    assert (second.soft_ce_reduction, second.temperature_square, second.lr_schedule) == ("sum", False, "linear")


def test_published_loss_of_zero_is_reported():
    result = resolved("--preset paddlenlp", task="STS-B", regression=True)
    assert result["prediction"].regression_target == "softmax"
    assert any("loss is 0" in str(line) for line in result.warnings)
    assert not resolved("--preset paddlenlp").warnings


def test_paper_preset_uses_original_rows_for_sts_b_with_a_warning():
    result = resolved("--preset paper --use_aug", task="STS-B", regression=True)
    assert result["intermediate"].use_aug is True and result["prediction"].use_aug is False
    assert any("original rows" in str(line) for line in result.warnings)
    asked = resolved("--preset paper --use_aug --prediction_aug", task="STS-B", regression=True)
    assert asked["prediction"].use_aug is True and not asked.warnings
    assert resolved("--preset paper --use_aug")["prediction"].use_aug is True
    alone = resolved("--preset paper --use_aug", "prediction", "STS-B", True)
    assert [entry.name for entry in alone.unused] == ["use_aug"]


def test_given_option_overrides_every_preset():
    for preset in ("sound", "paper", "huawei", "paddlenlp"):
        settings = resolved(f"--preset {preset} --learning_rate 1e-3 --weight_decay 0.5 --teacher_mode eval", "prediction")["prediction"]
        assert (settings.learning_rate, settings.weight_decay, settings.teacher_mode) == (1e-3, 0.5, "eval")


def test_stage_option_overrides_the_common_one():
    result = resolved("--learning_rate 1e-3 --prediction_learning_rate 2e-3 --num_train_epochs 7 --intermediate_epochs 9 "
                      "--intermediate_max_steps 5 --intermediate_aug")  # fmt: skip
    first, second = result["intermediate"], result["prediction"]
    assert (first.learning_rate, second.learning_rate) == (1e-3, 2e-3)
    assert (first.max_steps, second.max_steps, second.num_train_epochs) == (5, -1, 7.0)
    assert (first.use_aug, second.use_aug) == (True, False)
    assert source(result, "prediction", "learning_rate") == "given (prediction_learning_rate)"


def test_every_value_names_its_source():
    result = resolved("--batch_size 8 --preset paper", "intermediate")
    assert source(result, "intermediate", "batch_size") == "given"
    assert source(result, "intermediate", "layer_map") == "preset paper"
    assert source(result, "intermediate", "seed") == "default"


def test_sts_b_model_is_selected_by_the_published_metric():
    for preset in ("paddlenlp", "mud"):
        assert finetune(f"--preset {preset}", "STS-B")["finetune"].metric == "pearson"
        assert finetune(f"--preset {preset}", "MRPC")["finetune"].metric is None  # defined by the task
        assert finetune(f"--preset {preset} --metric spearman", "STS-B")["finetune"].metric == "spearman"
    result = resolved("--preset paddlenlp", task="STS-B", regression=True)
    assert (result["intermediate"].metric, result["prediction"].metric) == (None, "pearson")
    assert source(result, "prediction", "metric") == "preset paddlenlp"
    assert resolved("--preset huawei", task="STS-B", regression=True)["prediction"].metric is None


def test_metric_is_reported_as_unused_where_nothing_is_scored():
    assert "metric accuracy is not used" in resolved("--metric accuracy", "intermediate").warnings[0].text


@pytest.mark.parametrize("preset", ["sound", "paper", "huawei", "paddlenlp"])
@pytest.mark.parametrize("regression", [False, True])
def test_every_setting_has_a_value(preset, regression):
    result = resolved(f"--preset {preset}", regression=regression)
    for stage, settings in result.stages.items():
        for name, value, _ in settings.as_table():
            assert value is not None or name == "do_lower_case", f"{stage}.{name}"
        for name in (
            "batch_size",
            "eval_batch_size",
            "learning_rate",
            "num_train_epochs",
            "max_seq_length",
            "optimizer",
            "seed",
        ):
            assert getattr(settings, name) is not None


COMMANDS = {"intermediate": "distill", "prediction": "distill", "augment": "augment"}


@pytest.mark.parametrize("preset", [path.stem for path in Path(preset_module.__file__).with_name("presets").glob("*.yaml")])
def test_presets_name_only_existing_options_with_allowed_values(preset):
    for section, table in read_preset(preset).sections.items():
        options = dict(find_command(COMMANDS.get(section, section)).config.options())
        for name, value in table.items():
            tables = [value] if not isinstance(value, dict) or "default" in value else list(value.values())
            plain = [entry for table in tables for entry in (table.values() if isinstance(table, dict) else [table])]
            assert name == "original_rows" or all(entry is None or options[name].read(entry, name) == entry for entry in plain)


@pytest.mark.parametrize(
    ("more", "stage", "regression", "names"),
    [
        ("--method logits --layer_map top", "prediction", False, ["layer_map"]),
        ("--projection shared", "prediction", False, ["projection"]),
        ("--T 2", "prediction", True, ["T"]),
        ("--T 2 --alpha 0", "prediction", False, ["T"]),
        ("--T 2 --alpha 0.5", "intermediate", False, ["T", "alpha"]),
        (
            "--method none --alpha 0.5 --teacher_mode train",
            "prediction",
            False,
            ["alpha", "teacher_mode", "teacher_path"],
        ),
        ("--regression_target gold", "prediction", False, ["regression_target"]),
        ("--regression_target gold --alpha 0.5", "prediction", True, ["alpha"]),
        ("--lr_schedule constant --warmup_proportion 0.2", "both", False, ["warmup_proportion"]),
        ("--lr_schedule constant --warmup_steps 9", "both", False, ["warmup_steps"]),
        ("--warmup_steps 9 --warmup_proportion 0.2", "both", False, ["warmup_proportion"]),
        ("--max_grad_norm 0 --grad_clip tensor", "both", False, ["grad_clip"]),
        ("--preset paddlenlp --grad_clip tensor", "both", False, ["grad_clip"]),
        ("--max_steps 5 --num_train_epochs 2", "both", False, ["num_train_epochs"]),
        ("--optimizer bertadam --grad_clip global", "both", False, ["grad_clip"]),
        ("--preset huawei --grad_clip global", "both", False, ["grad_clip"]),
        ("--optimizer bertadam --grad_clip tensor", "both", False, []),
        ("--amp_dtype bfloat16", "both", False, ["amp_dtype"]),
        ("--amp O1 --amp_dtype bfloat16", "both", False, []),
        ("--checkpoint_steps 5 --checkpoint_minutes 3", "both", False, ["checkpoint_minutes"]),
        ("--checkpoint_minutes 3", "both", False, []),
        ("--compact_vocabulary True", "both", False, []),
        ("--compact_vocabulary True --optimizer adam", "both", False, ["compact_vocabulary"]),
        ("--compact_vocabulary True --amp O1", "both", False, ["compact_vocabulary"]),
        ("--compact_vocabulary True --prune_schedule depth --num_layers 1", "prediction", False, ["compact_vocabulary"]),
        ("--compact_vocabulary True --prune_schedule depth --num_layers 1", "both", False, []),
        ("--early_stopping_patience 3", "both", False, []),
        ("--early_stopping_patience 3 --prune_schedule depth --num_layers 1", "prediction", False, ["early_stopping_patience"]),
        ("--early_stopping_patience 3 --prune_schedule depth --num_layers 1", "both", False, []),
        ("--data_dir D --glue_dir G", "both", False, ["glue_dir"]),
        ("--glue_dir G", "both", False, []),
        ("--method none --teacher_labels A,B", "prediction", False, ["teacher_labels", "teacher_path"]),
        ("--method none --allow_weak_teacher", "prediction", False, ["allow_weak_teacher", "teacher_path"]),
        ("--use_pred False --teacher_labels A,B --allow_weak_teacher", "prediction", False, ["teacher_labels", "allow_weak_teacher"]),
        ("--alpha 0 --allow_weak_teacher", "prediction", False, ["allow_weak_teacher"]),
        ("--alpha 0 --teacher_labels A,B --allow_weak_teacher", "both", False, []),
        ("--method emd --preset emd --alpha 0 --allow_weak_teacher", "prediction", False, []),
        ("--max_steps 2 --prediction_epochs 5", "prediction", False, ["prediction_epochs"]),
        ("--max_steps 2 --prediction_epochs 5", "both", False, ["prediction_epochs"]),
        ("--intermediate_max_steps 2 --intermediate_epochs 5 --prediction_epochs 5", "both", False, ["intermediate_epochs"]),
        ("--use_att False --attention_weight 2", "intermediate", False, ["attention_weight"]),
        ("--use_att False --attention_weight 2", "prediction", False, ["use_att", "attention_weight"]),
        ("--intermediate_epochs 2", "prediction", False, ["intermediate_epochs"]),
        ("--learning_rate 1e-3 --prediction_learning_rate 1e-4", "prediction", False, ["learning_rate"]),
        ("--ablation trm", "prediction", False, ["ablation"]),
        ("--ablation pred --T 2", "prediction", False, ["T"]),
        ("--preset huawei --warmup_proportion 0.2", "intermediate", False, ["warmup_proportion"]),
        ("--preset huawei --warmup_proportion 0.2", "both", False, []),
        ("--layer_map top --T 2", "both", False, []),
    ],
)
def test_options_without_effect_are_reported(more, stage, regression, names):
    result = resolved(more, stage, regression=regression)
    assert {entry.name for entry in result.unused} - {"teacher_path"} == set(names) - {"teacher_path"}
    assert ("teacher_path" in {entry.name for entry in result.unused}) == ("teacher_path" in names)
    for name in names:
        assert any(str(line).startswith(f"--{name} ") and "not used" in str(line) for line in result.warnings)
        assert any(row[0] == name and row[2].startswith("unused: ") for row in result.as_table())


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("--optimizer bertadam --grad_clip global", "grad_clip"),
        ("--amp_dtype bfloat16", "amp_dtype"),
        ("--checkpoint_steps 5 --checkpoint_minutes 3", "checkpoint_minutes"),
        ("--data_dir D --glue_dir G", "glue_dir"),
    ],
)
def test_fine_tuning_options_without_effect_are_reported(more, name):
    result = finetune(more)
    assert [entry.name for entry in result.unused] == [name] and result.warnings[0].text.startswith(f"--{name} ")


@pytest.mark.parametrize("more", ["", " --grad_clip global", " --preset paper"])
def test_settings_show_that_bertadam_clips_each_tensor(more):
    for result in (resolved("--optimizer bertadam" + more), finetune("--optimizer bertadam" + more)):
        for stage, settings in result.stages.items():
            assert (settings.grad_clip, source(result, stage, "grad_clip")) == ("tensor", "optimizer bertadam")
    assert source(resolved("--optimizer bertadam --grad_clip tensor"), "prediction", "grad_clip") == "given"
    assert resolved("--optimizer bertadam --max_grad_norm 0")["prediction"].grad_clip is None


def test_preset_values_that_a_stage_ignores_give_no_warning():
    assert not resolved("--preset huawei", "intermediate").warnings


@pytest.mark.parametrize(
    ("ablation", "off"),
    [
        ("embd", {"use_embedding"}),
        ("hidn", {"use_rep"}),
        ("attn", {"use_att"}),
        ("trm", {"use_rep", "use_att"}),
        ("pred", set()),
    ],
)
def test_ablations_switch_off_what_the_paper_does(ablation, off):
    result = resolved(f"--ablation {ablation}")
    first = result["intermediate"]
    assert {name for name in ("use_embedding", "use_rep", "use_att") if not getattr(first, name)} == off
    assert result["prediction"].use_pred is (ablation != "pred")


@pytest.mark.parametrize(
    ("more", "stage", "reason"),
    [
        ("--method emd --ablation attn", "prediction", None),
        ("--method emd --ablation embd", "prediction", None),
        ("--method emd --ablation pred", "prediction", None),
        ("--method mud --ablation attn", "intermediate", "--method mud does not use it"),
        ("--method mud --ablation embd", "intermediate", "--method mud does not use it"),
        ("--method mud --ablation pred", "both", None),
        ("--ablation trm", "both", None),
        ("--ablation pred", "intermediate", "the intermediate stage does not learn logits"),
        ("--ablation trm", "prediction", "the prediction stage does not learn hidden states and attention"),
        ("--method none --ablation attn", "prediction", "--method none does not use it"),
    ],
)
def test_ablation_is_reported_only_where_it_has_no_effect(more, stage, reason):
    found = {entry.name: entry.reason for entry in resolved(more, stage).unused}
    assert found.get("ablation") is None if reason is None else reason in found["ablation"]


def test_without_logits_the_prediction_stage_learns_from_gold_labels():
    result = resolved("--ablation pred --use_aug")
    assert (result["prediction"].alpha, result["prediction"].T, result["prediction"].use_aug) == (0.0, None, False)
    assert result["intermediate"].use_aug is True
    none = resolved("--method none", "prediction")["prediction"]
    assert (none.alpha, none.prediction_weight, none.teacher_mode) == (0.0, 1.0, None)


def test_intermediate_stage_without_losses_is_refused():
    with pytest.raises(UserError, match="nothing is left to learn"):
        resolved("--use_att False --use_rep False --use_embedding False", "intermediate")


@pytest.mark.parametrize(
    ("more", "steps", "proportion"),
    [
        ("", 0, 0.1),
        ("--warmup_steps 7", 7, 0.0),
        ("--warmup_steps 0", 0, 0.0),
        ("--warmup_steps 0 --warmup_proportion 0.1", 0, 0.1),
    ],
)
def test_warmup_is_steps_or_a_proportion_never_both(more, steps, proportion):
    settings = resolved(more, "prediction")["prediction"]
    assert (settings.warmup_steps, settings.warmup_proportion) == (steps, proportion)


def test_settings_name_the_stage_only_where_stages_differ():
    names = [row[0] for row in resolved().as_table()]
    assert "batch_size" in names and "intermediate.learning_rate" in names and "prediction.learning_rate" in names
    assert len(names) == len(set(names))
    assert "learning_rate" in [row[0] for row in resolved(stage="prediction").as_table()]
    assert "preset sound" in resolved().as_text()


def test_settings_can_be_saved_as_json():
    saved = json.loads(json.dumps(resolved("--T 2", "intermediate").as_dict()))
    assert saved["stages"]["intermediate"]["sources"]["batch_size"] == "preset sound"
    assert saved["unused"][0]["name"] == "T"


@pytest.mark.parametrize(
    ("preset", "epochs", "length", "decay", "norm"),
    [("sound", 3, 64, 0.01, 1.0), ("paddlenlp", 3, 128, 0.0, 0.0), ("huawei", 3, 128, 0.0, 0.0), ("emd", 4, 128, 0.0, 1.0),
     ("mud", 5, 128, 0.0, 1.0)],
)  # fmt: skip
def test_fine_tuning_presets_are_applied(preset, epochs, length, decay, norm):
    settings = finetune(f"--preset {preset}")["finetune"]
    assert (settings.num_train_epochs, settings.max_seq_length, settings.weight_decay, settings.max_grad_norm) == (
        epochs,
        length,
        decay,
        norm,
    )
    assert settings.learning_rate == 2e-5 and settings.batch_size == 32


def test_hugging_face_evaluation_interval_is_logging_steps():
    settings = finetune("--evaluate_during_training --logging_steps 50 --save_steps 0")["finetune"]
    assert settings.save_steps == 50
    assert finetune("--save_steps 0 --logging_steps 50")["finetune"].save_steps == 0
    both = finetune("--evaluate_during_training --logging_steps 50 --save_steps 500")
    assert both["finetune"].save_steps == 50 and [entry.name for entry in both.unused] == ["save_steps"]
