"""The settings of `--method mud`: published numbers, contradictions, and options without effect."""

from __future__ import annotations

import shlex

import pytest

from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.errors import UserError
from tinybert.kinds.registry import DEFAULT
from tinybert.methods.mud import read_config_3d

BASE = "--task_name x --output_dir o --teacher_path T --student_model_name_or_path S --method mud "


def resolved(more: str = "", stage: str = "intermediate", task: str = "SST-2"):
    return parse(TaskDistillConfig, shlex.split(f"{BASE}{more} --stage {stage}")).resolve(task, DEFAULT)


@pytest.mark.parametrize(
    ("task", "epochs", "length"), [("CoLA", 30, 64), ("SST-2", 10, 64), ("QNLI", 5, 128), ("RTE", 20, 128), ("x", 20, 128)]
)
def test_mud_preset_applies_the_published_values(task, epochs, length):
    result = resolved("--preset mud", "both", task)
    first, second = result["intermediate"], result["prediction"]
    assert (first.num_train_epochs, first.max_seq_length, first.lr_schedule, first.optimizer) == (epochs, length, "constant", "bertadam")
    assert (second.num_train_epochs, second.learning_rate, second.warmup_proportion, second.soft_ce_reduction) == (5, 2e-5, 0.0, "mean")
    assert (first.hidden_reduction, first.teacher_mode, first.teacher_head) == ("mean", "train", "relu")


def test_published_mud_quirks_are_limited_to_its_preset():
    more = "--token_scheme attention --keep_tokens 5 --hidden_scheme {} --keep_hidden 0.1"
    sound, dynamic = (resolved(more.format(scheme))["intermediate"] for scheme in ("rand_mask", "importance_mask_dynamic"))
    assert (sound.att_ttop12, sound.mud_mask, sound.mask_first_step, sound.mask_threshold) == (False, "both", True, None)
    assert (dynamic.mask_threshold, dynamic.mask_first_step, dynamic.hidden_reduction) == ("example", None, "masked")
    published = resolved("--preset mud " + more.format("rand_mask"))["intermediate"]
    assert (published.att_ttop12, published.mud_mask, published.mask_first_step) == (True, "teacher", False)


@pytest.mark.parametrize(
    ("text", "values"),
    [("1l_10t_0.1h", (1, 10, 0.1)), ("5l_128t_1h", (5, 128, 1.0)), ("2l_5t_1e-2h", (2, 5, 0.01)), ("2l_5t_.3h", (2, 5, 0.3))],
)
def test_config_3d_is_parsed(text, values):
    assert read_config_3d(text) == values
    schemes = "--token_scheme left_first --hidden_scheme uniform_mask --max_seq_length 128"
    settings = resolved(f"--config_3d {text} {schemes}")["intermediate"]
    assert (settings.keep_layers, settings.keep_tokens, settings.keep_hidden) == values


@pytest.mark.parametrize(
    "text", ["1l_10t", "0l_10t_0.1h", "1l_0t_0.1h", "1l_10t_0h", "1l_10t_1.5h", "1l-10t-0.1h", "xl_10t_0.1h", "1l_10t_-1h"]
)
def test_malformed_config_3d_is_refused(text):
    with pytest.raises(UserError, match="1l_10t_0.1h"):
        resolved(f"--config_3d {text}")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--keep_hidden 1.5", "at most 1"),
        ("--keep_tokens 65 --token_scheme left_first", "too large: rows have at most 64"),
        ("--keep_tokens 5", "no --token_scheme selects them"),
        ("--keep_hidden 0.5", "no --hidden_scheme selects them"),
        ("--config_3d 1l_5t_0.5h --keep_layers 2", "means --keep_layers 1, which contradicts --keep_layers 2"),
        ("--s_layer_indices 1 2 --t_layer_indices 4", "names 2 entries of the student"),
        ("--is_rosita --projection shared", "--is_rosita True means --projection none"),
        ("--use_rep False", "use_rep is off"),
        ("--layer_scheme t_top0", "expected none, or t_topX"),
        ("--stage both --repr_distill --pred_distill", "different stages"),
    ],
)
def test_mud_contradictions_are_refused(more, message):
    with pytest.raises(UserError, match=message):
        result = resolved(more)
        from tinybert.config.stages import infer_stage

        parsed = parse(TaskDistillConfig, shlex.split(BASE + more))
        infer_stage(parsed)
        assert result is None


@pytest.mark.parametrize(
    ("more", "stage", "names"),
    [
        ("--use_att True --layer_map top --attention_heads average", "intermediate", ["layer_map", "use_att", "attention_heads"]),
        ("--token_scheme left_first --keep_tokens 5 --att_ttop12 True", "intermediate", ["att_ttop12"]),
        ("--hidden_scheme rand_mask --keep_hidden .1 --mask_threshold batch", "intermediate", ["mask_threshold"]),
        ("--hidden_scheme importance_mask_dynamic --keep_hidden .1 --mask_first_step True", "intermediate", ["mask_first_step"]),
        ("--mud_mask both", "intermediate", ["mud_mask"]),
        ("--s_layer_indices 1 --t_layer_indices 4 --layer_scheme t_top10", "intermediate", ["layer_scheme"]),
        ("--config_3d 1l_5t_0.5h --token_scheme left_first", "prediction", ["config_3d", "token_scheme"]),
    ],
)
def test_mud_options_without_effect_are_reported(more, stage, names):
    assert sorted(entry.name for entry in resolved(more, stage).unused) == sorted(names)


def test_is_rosita_means_no_projection():
    result = resolved("--is_rosita")
    assert result["intermediate"].projection == "none" and "given (is_rosita)" in result.as_text()
