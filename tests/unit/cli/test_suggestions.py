"""Names of other programs are answered, only misspellings are suggested, and costly config files are refused."""

from __future__ import annotations

import pytest

from tinybert.cli.main import OLD_SCRIPTS, main
from tinybert.cli.parser import parse
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.registry import all_commands
from tinybert.config.dialects import TRAINER_NAMES
from tinybert.config.suggestions import nearest
from tinybert.errors import UserError

LINE = {"task_name": "SST-2", "teacher_path": "T", "student_layers": 3, "output_dir": "O"}
WORDS = [word for name, value in LINE.items() for word in (f"--{name}", str(value))]


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(TaskDistillConfig, [*WORDS, *words])
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tempersture", "temperature"),
        ("learning-rate", "learning_rate"),
        ("max_seq_lenght", "max_seq_length"),
        ("bacth_size", "batch_size"),
        ("beat", "beta"),
        ("student_head", "student_heads"),
        ("num_labels", None),
        ("dropout", None),
        ("gamma", None),
    ],
)
def test_only_misspellings_are_suggested(name, meant):
    assert nearest(name, [*TaskDistillConfig.options(), "temperature"]) == meant


@pytest.mark.parametrize("name", TRAINER_NAMES)
def test_trainer_option_is_answered_in_one_line(name):
    text = refusal(f"--{name}", "1")
    assert text == f"unknown option --{name}\n{TRAINER_NAMES[name]}" and "\n" not in TRAINER_NAMES[name]


def test_trainer_option_with_the_same_meaning_works():
    config = parse(
        TaskDistillConfig,
        [*WORDS, *["--metric_for_best_model", "mcc", "--save_total_limit", "3", "--warmup_ratio", "0.2", "--eval_steps", "7"]],
    )
    assert (config.metric, config.keep_checkpoints, config.warmup_proportion, config.save_steps) == ("mcc", 3, 0.2, 7)


def test_trainer_names_shadow_no_option():
    for command in all_commands().values():
        known = {*command.config.options(), *(alias.name for option in command.config.options().values() for alias in option.aliases)}
        assert not known & set(TRAINER_NAMES)


@pytest.mark.parametrize("script", [*OLD_SCRIPTS, "./convert_bert_original_tf_checkpoint_to_pytorch"])
def test_published_script_name_is_answered_with_todays_command(script, capsys):
    if script in all_commands():
        return
    assert main([f"{script}.py"]) == 2
    text = capsys.readouterr().err
    assert "is a script of a published system" in text and "tinybert" in text.splitlines()[-1]
    today = OLD_SCRIPTS.get(script, "convert").split()[0]
    assert today in all_commands()


@pytest.mark.parametrize(
    ("name", "value"), [("T", 1e-30), ("T", -1), ("alpha", 1.5), ("alpha", -0.1), ("learning_rate", 1e6), ("batch_size", 0)]
)
def test_python_and_command_line_refuse_a_value_in_the_same_words(name, value):
    with pytest.raises(UserError) as caught:
        TaskDistillConfig(**LINE, **{name: value})
    assert refusal(f"--{name}", str(value)) == str(caught.value) and f"--{name} got {value}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 60_000, "nested too deeply"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "has an alias"),
        ("".join(f"option{number}: {number}\n" for number in range(6_000)), "larger than 64 KB"),
        ("T: " + "1:" * 30_000 + "1", "T got a number with more than"),
        ('{"a": ' * 9_000 + "1" + "}" * 9_000, "nested too deeply"),
    ],
    ids=["nested", "aliases", "large", "base 60", "nested JSON"],
)
def test_config_file_that_is_slow_to_parse_is_refused(tmp_path, text, words):
    for suffix in ("yaml", "json") if text.startswith("{") else ("yaml",):
        path = tmp_path / f"options.{suffix}"
        path.write_text(text)
        assert words in refusal("--config", str(path))
