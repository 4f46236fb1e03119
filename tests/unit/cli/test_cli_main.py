"""Exit codes, lazy imports, and the page of options."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from tinybert.cli import main as cli
from tinybert.cli.flags_page import flags_page, scripts
from tinybert.cli.parser import spellings_of
from tinybert.commands.distill import TaskDistillConfig
from tinybert.commands.registry import Command, all_commands
from tinybert.errors import Interrupted, NumericalError, UserError

ROOT = Path(__file__).parents[3]
LINE = [
    "--task_name",
    "SST-2",
    "--output_dir",
    "o",
    "--teacher_path",
    "T",
    "--student_model_name_or_path",
    "S",
    "--threads",
    "2",
]


def toy(recipe: str) -> Command:
    """The distillation command with another recipe."""
    return Command("toy", "", TaskDistillConfig, f"toy_recipe:{recipe}", "toy.py")


@pytest.fixture
def calls(monkeypatch):
    """The calls of `run_script`, in order, with `tinybert.runtime` and the recipe replaced."""
    found: list[tuple] = []
    runtime = types.ModuleType("tinybert.runtime")
    runtime.prepare = lambda threads=None: found.append(("prepare", threads))
    recipe = types.ModuleType("toy_recipe")
    recipe.run = lambda config: found.append(("run", config))
    recipe.fail = lambda *_: (_ for _ in ()).throw(recipe.problem)
    monkeypatch.setitem(sys.modules, "tinybert.runtime", runtime)
    monkeypatch.setitem(sys.modules, "toy_recipe", recipe)
    return found


def test_threads_are_set_before_the_recipe_runs(calls):
    assert cli.run_script(toy("run"), LINE) == 0
    assert calls[0] == ("prepare", 2)
    name, config = calls[1]
    assert name == "run" and config.task_name == "SST-2" and "threads" in config.given and config.spelled["teacher_path"] == "teacher_path"


def test_wrong_arguments_are_refused_before_anything_is_prepared(calls, capsys):
    assert cli.run_script(toy("run"), [*LINE, "--tempersture", "2"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: unknown option --tempersture\nDid you mean --temperature?")
    assert "Traceback" not in captured.err and "usage" not in captured.err and captured.out == ""
    assert not calls


@pytest.mark.parametrize(
    ("problem", "code", "text"),
    [
        (UserError("no such folder"), 2, "error: no such folder"),
        (NumericalError("loss is NaN"), 3, "error: loss is NaN"),
        (Interrupted(15, "saved"), 143, "interrupted: saved"),
        (Interrupted(2, "saved"), 130, "interrupted: saved"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_every_outcome_has_its_exit_code(calls, capsys, problem, code, text):
    sys.modules["toy_recipe"].problem = problem
    assert cli.run_script(toy("fail"), LINE) == code
    assert capsys.readouterr().err.strip() == text


def test_unexpected_failure_keeps_its_traceback(calls):
    sys.modules["toy_recipe"].problem = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.run_script(toy("fail"), LINE)


@pytest.mark.parametrize(("called", "program"), [("bin/tinybert", "tinybert"), ("lib/tinybert/__main__.py", "python -m tinybert")])
def test_commands_are_named_as_they_were_called(monkeypatch, called, program):
    found = []
    monkeypatch.setattr(cli, "_run", lambda *parts: found.append(parts))
    monkeypatch.setattr(sys, "argv", [called])
    assert cli.main(["demo", "--quick"]) == 0
    assert found == [("demo", ["--quick"], f"{program} demo")]


def test_unknown_command_is_answered_with_the_nearest(capsys):
    assert cli.main(["distil"]) == 2
    assert "unknown command 'distil'; did you mean distill?" in capsys.readouterr().err


def test_no_command_lists_the_commands(capsys):
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("finetune", "distill", "demo", "convert", "download", "flags"))


@pytest.mark.parametrize("command", ["", "finetune", "distill", "demo", "prune", "convert", "download"])
def test_help_does_not_import_the_framework(command):
    code = (
        "import sys; from tinybert.cli.main import main; code = main(sys.argv[1:]);"
        "heavy = {'paddle', 'paddlenlp', 'numpy', 'yaml'} & set(sys.modules); sys.exit(code or (f'imported {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command.split(), "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--" in done.stdout


def test_module_entry_point_returns_the_exit_code():
    done = subprocess.run([sys.executable, "-m", "tinybert", "distill", "--nonsense"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", all_commands())
def test_every_option_is_explained_and_on_the_page(name):
    arguments_class = all_commands()[name].config
    page = (ROOT / "docs" / "flags.md").read_text(encoding="utf-8")
    part = page.split(f"## `tinybert {name}`")[1].split("\n## ")[0]
    shared = page.split("\n## Shared options\n")[1].split("\n## ")[0]
    for option in arguments_class.options().values():
        assert option.help and option.group, option.name
        names = "<br>".join(f"`--{name}`" for name in (option.name, *(alias.name for alias in option.aliases)))
        assert f"\n{names}<br>" in part or f"\n{names}<br>" in shared
        assert all(alias.dialect for alias in option.aliases)
    for entry in (*arguments_class.IGNORED, *arguments_class.UNSUPPORTED):
        assert f"`--{entry.name}`" in page


@pytest.mark.parametrize("script", scripts())
def test_no_spelling_stands_for_two_options(script):
    arguments_class = scripts()[script]
    others = [entry.name for entry in (*arguments_class.IGNORED, *arguments_class.UNSUPPORTED)]
    assert len(others) == len(set(others))
    assert not set(others) & set(spellings_of(arguments_class))
    assert not {"config", "help", "version"} & {*others, *spellings_of(arguments_class)}


def test_page_of_options_is_current(capsys):
    assert (ROOT / "docs" / "flags.md").read_text(encoding="utf-8") == flags_page()
    assert cli.main(["flags"]) == 0
    assert capsys.readouterr().out == flags_page()
