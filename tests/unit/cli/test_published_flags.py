"""Every flag of the published scripts works, is another name of one that works, or says that it does nothing; and so does every flag of
ours: none is silently without effect.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from tests.unit.cli.published_flags import PUBLISHED, Published
from tests.unit.cli.settled import settled
from tinybert.cli.flags_page import flags_page, scripts
from tinybert.cli.parser import parse, spellings_of
from tinybert.data.custom_files import CustomFiles
from tinybert.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
# flags that only have a meaning together with others, which are added to the basic line
TOGETHER = {
    "add_softmax": "--seperate True",
    "config_3d": "--token_scheme attention --hidden_scheme rand_mask",
    "keep_tokens": "--token_scheme attention",
    "token_scheme": "--token_scheme left_first --keep_tokens 7",
    "att_ttop12": "--token_scheme attention --keep_tokens 7",
    "keep_hidden": "--hidden_scheme uniform_mask",
    "hidden_scheme": "--hidden_scheme rand_mask --keep_hidden 0.5",
    "s_layer_indices": "--s_layer_indices 0 1 --t_layer_indices 3 6",
    "t_layer_indices": "--s_layer_indices 1 2 --t_layer_indices 0 3",
    "warmup_proportion": "--lr_schedule linear",
    "evaluate_during_training": "--logging_steps 7",
    "warmup_steps": "--lr_schedule linear",
}
# files that read options by name
READERS = ("recipes/*.py", "augment/*.py", "corpus/*.py", "cli/main.py", "commands/*.py", "methods/*.py")
READERS += tuple(f"config/{name}.py" for name in ("runs", "rows", "stages", "custom_files", "stored", "distilling"))
# switches of BERT-EMD's script to other procedures: rejected, with the equivalent command line here
PROCEDURES = {"tinybert", "pkd", "tb_onestep", "no_pretrain"}


def _pairs() -> list[tuple[str, str]]:
    return [(name, flag) for name, published in PUBLISHED.items() for flag in published.flags]


def _without(line: str, names: set[str]) -> str:
    return " ".join(f"--{part}" for part in re.split(r"\s*--", line)[1:] if part.split()[0] not in names)


@cache
def _outcome(script: str, line: str) -> tuple[dict, dict]:
    """The arguments and the resolved values of a command line."""
    parsed = parse(scripts()[script], shlex.split(line))
    return parsed.as_dict(), settled(parsed)


def _bare(settings: dict) -> dict:
    """Only the values, without sources and notices."""
    stages = {name: {k: v for k, v in stage.items() if k != "sources"} for name, stage in settings.get("stages", {}).items()}
    return {"stages": stages, "stage": settings.get("stage")}


@cache
def _readers() -> str:
    return "\n".join(path.read_text("utf-8") for pattern in READERS for path in (ROOT / "tinybert").glob(pattern))


def _is_read(name: str) -> bool:
    """Whether a recipe, or a function it calls with its arguments, reads this option."""
    own = {field.name for field in dataclasses.fields(CustomFiles)}
    return name in own or bool(re.search(rf"\b(?:config|context)\.{name}\b|\"{name}\"", _readers()))


@pytest.mark.parametrize(("name", "flag"), _pairs())
def test_published_flag_has_an_effect_or_says_that_it_has_none(name, flag, capsys):
    published: Published = PUBLISHED[name]
    kind, value = scripts()[published.script], published.flags[flag]
    base = f"{published.base} {TOGETHER.get(flag, '')}"
    if flag in PROCEDURES and flag in {entry.name for entry in kind.UNSUPPORTED}:
        with pytest.raises(UserError, match=f"--{flag} belongs to"):
            parse(kind, shlex.split(f"{base} --{flag} {value}"))
        if value in ("True", "x"):  # the default value has no effect
            parse(kind, shlex.split(f"{base} --{flag} {'False' if value == 'True' else repr('')}"))
        return
    if flag in {entry.name for entry in kind.IGNORED}:
        before = parse(kind, shlex.split(base)).as_dict()
        capsys.readouterr()
        assert parse(kind, shlex.split(f"{base} --{flag} {value}")).as_dict() == before
        assert f"--{flag} has no effect: " in capsys.readouterr().err
        assert f"`--{flag}`" in flags_page().split("## Accepted without effect")[1]
        return
    canonical = spellings_of(kind)[flag]  # a KeyError: unknown flag
    same = {spelling for spelling, meaning in spellings_of(kind).items() if meaning == canonical}
    if flag == "pred_distill":
        same.add("repr_distill")  # the other stage
    rest = _without(base, same)
    _assert_effect(published.script, rest + _default(base, same, flag), f"{rest} --{flag} {value}", canonical)


def _default(base: str, same: set[str], flag: str) -> str:
    """The option as in the basic line, by its published name; empty if it is not in the basic line."""
    for part in re.split(r"\s*--", base)[1:]:
        if part.split()[0] in same:
            return f" --{flag} {' '.join(part.split()[1:])}"
    return ""


def _assert_effect(script: str, before: str, after: str, option: str) -> None:
    (arguments, settings), (changed, now) = _outcome(script, before), _outcome(script, after)
    told = any(entry["name"] == option for entry in now.get("unused", ()))
    if option in ("pred_distill", "repr_distill", "do_train"):  # may repeat what the line already says
        return
    assert arguments[option] != changed[option]
    assert told or _bare(settings) != _bare(now) or _is_read(option), f"--{option} changes nothing"


def _is_resolved(option) -> bool:
    """Whether an option is a setting, or sets some."""
    return option.setting or option.sets is not None


@pytest.mark.parametrize(("script", "name"), [(script, name) for script, kind in scripts().items() for name in kind.options()])
def test_every_option_is_a_setting_or_read_by_name(script, name):
    assert _is_resolved(scripts()[script].options()[name]) or _is_read(name), f"{script} --{name}"


@pytest.mark.parametrize("script", ["task_distill.py", "benchmark/glue/run_glue.py", "data_augmentation.py"])
def test_second_data_folder_is_reported_as_unused(script):
    base = next(published.base for published in PUBLISHED.values() if published.script == script)
    line = _without(base, {"data_dir", "glue_dir"}) + " --data_dir D --glue_dir G"
    assert [entry["name"] for entry in _outcome(script, line)[1]["unused"]] == ["glue_dir"]
