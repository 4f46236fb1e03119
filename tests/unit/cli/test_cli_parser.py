"""Parsing a command line: no wrong value passes silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from tinybert.cli.parser import parse
from tinybert.config.dialects import IgnoredOption, UnsupportedOption
from tinybert.config.options import Alias, Config, option
from tinybert.errors import UserError


class Toy(Config):
    """A toy."""

    IGNORED: ClassVar = (
        IgnoredOption("reduce_memory", False, "memory is small anyway", "Huawei"),
        IgnoredOption("cache", True, "no", "HF"),
    )
    UNSUPPORTED: ClassVar = (UnsupportedOption("beta", "--method emd"),)

    task_name: str = option(help="the task", group="data")
    rate: float | None = option(None, help="rate", group="numbers", alias=(Alias("lr", "Huawei"), Alias("speed", "HF")), above=0)
    size: int = option(3, help="size", group="numbers", at_least=-1)
    share: float = option(0.5, help="share in 100%", group="numbers", at_least=0, below=1)
    flip: bool = option(False, help="switch", group="data", alias=(Alias("enable", "Huawei"),))
    place: Path | None = option(None, help="a folder", group="data")
    kind: str = option("plain", help="kind", group="data", choices=("plain", "fancy"))
    layers: list[int] = option([], help="layers", group="numbers")
    column: str | None = option(None, help="a column", group="data")
    labels: str | None = option(None, help="labels", group="data", listed=True)
    device: str = option("auto", help="device", group="data", alias=(Alias("no_cuda", "Huawei", means="cpu"),))


def read(*words: str, task: bool = True):
    return parse(Toy, [*(["--task_name", "SST-2"] if task else []), *words])


def error_of(*words: str, task: bool = True) -> str:
    with pytest.raises(UserError) as caught:
        read(*words, task=task)
    text = str(caught.value)
    assert 1 <= len(text.splitlines()) <= 3
    return text


@pytest.mark.parametrize("words", [["--rate", "2e-5"], ["--rate=2e-5"], ["--lr", "2e-5"], ["--speed=.00002"]])
def test_every_spelling_sets_the_same_option(words):
    parsed = read(*words)
    assert parsed.rate == 2e-5
    assert parsed.given == {"task_name", "rate"}
    assert parsed.spelled["rate"] == words[0].lstrip("-").split("=")[0]


def test_defaults_do_not_count_as_given():
    parsed = read()
    assert parsed.given == {"task_name"} and parsed.size == 3 and parsed.layers == []


@pytest.mark.parametrize("text", ["", "True", "true", "TRUE", "1", "yes"])
def test_boolean_is_switched_on_in_every_form(text):
    assert read("--flip", *([text] if text else [])).flip is True


@pytest.mark.parametrize("text", ["False", "false", "0", "no"])
def test_boolean_is_switched_off_in_every_form(text):
    assert read("--flip", text).flip is False
    assert read(f"--enable={text}").flip is False


def test_boolean_refuses_a_word_that_is_neither():
    assert "--flip got 'maybe'" in error_of("--flip", "maybe")


def test_option_after_a_bare_boolean_is_read():
    arguments = read("--flip", "--size", "7")
    assert arguments.flip and arguments.size == 7


def test_abbreviations_are_refused():
    assert "unknown option --siz" in error_of("--siz", "4")


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("--taks_name", "--task_name"), ("--task-name", "--task_name"), ("--Rate", "--rate"), ("--lrr=1", "--lr")],
)
def test_unknown_option_is_answered_with_the_nearest(word, nearest):
    text = error_of(word, "x")
    assert f"unknown option {word.split('=')[0]}" in text and f"Did you mean {nearest}?" in text


def test_unknown_option_unlike_any_other_gets_no_suggestion():
    assert "Did you mean" not in error_of("--zzzzqqqq")


def test_stray_word_is_refused():
    assert "unexpected argument 'SST-2'" in error_of("SST-2", task=False)


def test_missing_value_is_refused():
    assert "--size has no value" in error_of("--size")


def test_missing_required_option_is_named():
    assert "--task_name is missing" in error_of(task=False)


@pytest.mark.parametrize(
    ("words", "found", "expected"),
    [
        (["--size", "4.0"], "--size got '4.0'", "a whole number"),
        (["--size", "many"], "--size got 'many'", "a whole number"),
        (["--size", "-2"], "--size got -2", "at least -1"),
        (["--rate", "0"], "--rate got 0", "above 0"),
        (["--lr", "-1e-5"], "--lr got -1e-5", "above 0"),
        (["--rate", "nan"], "--rate got 'nan'", "a number"),
        (["--rate", "inf"], "--rate got 'inf'", "a number"),
        (["--share", "1"], "--share got 1", "at least 0 and below 1"),
        (["--kind", "fncy"], "--kind got 'fncy'", "did you mean fancy?"),
        (["--task_name="], "--task_name got ''", "text"),
        (["--layers", "1", "x"], "--layers got 'x'", "several values"),
    ],
)
def test_wrong_value_is_reported_with_option_value_and_expectation(words, found, expected):
    text = error_of(*words)
    assert found in text and expected in text


@pytest.mark.parametrize("words", [["--size", "-1"], ["--size=-1"]])
def test_negative_number_is_read_as_a_value(words):
    assert read(*words).size == -1


@pytest.mark.parametrize("words", [["1", "2", "3"], ["1,2,3"], ["1,2", "3"]])
def test_list_is_read_with_spaces_and_commas(words):
    assert read("--layers", *words).layers == [1, 2, 3]


def test_lists_are_not_shared_between_command_lines():
    read().layers.append(1)
    assert read().layers == []


def test_two_spellings_that_disagree_are_refused():
    text = error_of("--rate", "1e-5", "--lr", "2e-5")
    assert "--rate says 1e-05" in text and "--lr says 2e-05" in text


def test_two_spellings_that_agree_are_accepted():
    assert read("--rate", "1e-5", "--lr", "0.00001").rate == 1e-5


def test_last_of_repeated_options_counts():
    assert read("--size", "4", "--size", "5").size == 5


def test_switch_stands_for_its_value():
    assert read("--no_cuda").device == "cpu"
    off = read("--no_cuda", "False")
    assert off.device == "auto" and "device" not in off.given


def test_switch_that_contradicts_the_option_is_refused():
    assert "both are spellings of --device" in error_of("--no_cuda", "--device", "gpu")


def test_obsolete_option_warns_once_and_changes_nothing(capsys):
    parsed = read("--reduce_memory", "--cache", "/tmp/x", "--reduce_memory", "True", "--size", "4")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["warning: --reduce_memory has no effect: memory is small anyway", "warning: --cache has no effect: no"]
    assert parsed.size == 4 and parsed.given == {"task_name", "size"}


def test_option_of_another_method_is_refused_naming_the_method():
    assert "--beta belongs to --method emd" in error_of("--beta", "0.01")


def test_path_expands_the_home_folder():
    assert read("--place", "~/x").place == Path.home() / "x"


def test_help_shows_groups_defaults_and_aliases(capsys):
    with pytest.raises(SystemExit) as done:
        read("--help", task=False)
    text = " ".join(capsys.readouterr().out.split())
    assert done.value.code == 0
    for piece in (
        "A toy.",
        "numbers:",
        "size (default: 3)",
        "--lr [Huawei], --speed [HF]",
        "the task (required)",
        "in 100%",
    ):
        assert piece in text
    assert "--reduce_memory" not in text


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        read("--version", task=False)
    assert capsys.readouterr().out.startswith("tinybert ")


def config(folder: Path, text: str, name: str = "run.yaml") -> list[str]:
    (folder / name).write_text(text, encoding="utf-8")
    return ["--config", str(folder / name)]


def test_yaml_file_sets_options_with_their_types(tmp_path):
    words = config(tmp_path, "task_name: CoLA\nlr: 5e-5\nflip: yes\nlayers: [1, 2]\nshare: 0\nplace: null\nno_cuda: true\n")
    parsed = read(*words, task=False)
    arguments = parsed
    assert (arguments.rate, arguments.flip, arguments.layers, arguments.share) == (5e-5, True, [1, 2], 0.0)
    assert arguments.device == "cpu" and arguments.place is None
    assert parsed.given == {"task_name", "rate", "flip", "layers", "share", "device"} and parsed.spelled["rate"] == "lr"


@pytest.mark.parametrize(
    ("text", "column", "labels"),
    [
        ("column: 0", "0", None),
        ("column: '0'\nlabels: neg, pos", "0", "neg, pos"),
        ("labels: [neg, pos]", None, "neg,pos"),
        ("labels: [0, 1]", None, "0,1"),
        ("labels: ['bad, very', good]", None, '"bad, very",good'),
    ],
)
def test_numbers_and_lists_in_a_file_are_accepted_as_text(tmp_path, text, column, labels):
    arguments = read(*config(tmp_path, text))
    assert (arguments.column, arguments.labels) == (column, labels)


def test_json_file_sets_options(tmp_path):
    words = config(tmp_path, json.dumps({"task_name": "CoLA", "size": 9}), "run.json")
    assert read(*words, task=False).size == 9


def test_command_line_overrides_the_file_in_any_spelling(tmp_path):
    parsed = read(*config(tmp_path, "lr: 5e-5\ntask_name: CoLA"), "--rate", "1e-5")
    assert parsed.rate == 1e-5 and parsed.spelled["rate"] == "rate" and parsed.task_name == "SST-2"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("siz: 4", ["unknown option siz", "did you mean size?"]),
        ("size: four", ["size got 'four'", "a whole number"]),
        ("size: 4.5", ["size got 4.5", "a whole number"]),
        ("size: true", ["size got True", "a whole number"]),
        ("kind: 3", ["kind got 3", "one of plain, fancy"]),
        ("flip: 7", ["flip got 7", "True or False"]),
        ("rate: 1\nlr: 2", ["both are spellings of --rate"]),
        ("size: 4\nsize: 5", ["names size twice"]),
        ("- size", ["contains no options"]),
        ("size: [", ["is not YAML"]),
        ("beta: 1", ["belongs to --method emd"]),
        ("config: x", ["unknown option config"]),
        ("size:\n  deep: 1", ["size got {'deep': 1}"]),
        ("column: [0]", ["column got [0]", "expected text"]),
        ("column: 1.0", ["column got 1.0", "expected text", "put it in quotes"]),
        ("labels: [yes, no]", ["labels got [True, False]", "in a file also a list", "put it in quotes"]),
        ("labels: [a, [b]]", ["labels got ['a', ['b']]", "in a file also a list"]),
        ("labels: []", ["labels got []"]),
    ],
)
def test_wrong_file_is_reported_with_key_value_and_expectation(tmp_path, text, pieces):
    message = error_of(*config(tmp_path, text))
    assert all(piece in message for piece in pieces), message


def test_invalid_json_and_repeated_keys_are_refused(tmp_path):
    assert "is not JSON" in error_of(*config(tmp_path, "{", "a.json"))
    assert "names size twice" in error_of(*config(tmp_path, '{"size": 1, "size": 2}', "a.json"))


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_deeply_nested_file_is_refused(tmp_path, name):
    assert "is nested too deeply" in error_of(*config(tmp_path, "[" * 60_000, name))
    assert "is nested too deeply" in error_of(*config(tmp_path, '{"a":' * 5000 + "1" + "}" * 5000, name))


def test_impossible_date_in_a_file_is_refused(tmp_path):
    assert "is not YAML" in error_of(*config(tmp_path, "size: 2024-13-45\n"))


def test_missing_file_and_repeated_config_are_refused(tmp_path):
    assert "cannot be read" in error_of("--config", str(tmp_path / "none.yaml"))
    words = config(tmp_path, "size: 4")
    assert "given 2 times" in error_of(*words, *words)


def test_empty_file_is_accepted(tmp_path):
    assert read(*config(tmp_path, "# nothing yet\n")).size == 3


def test_obsolete_key_of_a_file_is_reported(tmp_path, capsys):
    read(*config(tmp_path, "reduce_memory: true"))
    assert "--reduce_memory has no effect" in capsys.readouterr().err
