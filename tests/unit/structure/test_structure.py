"""Rules for the code as a whole: imports, methods compared by name, options, names of tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tinybert
from tinybert.methods.registry import methods_of

ROOT = Path(tinybert.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports at import time, excluding functions and annotations."""
    found: set[str] = set()

    def walk(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinybert"):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(name if name in MODULES else node.module for name in names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
                walk([*node.body, *node.orelse])
            elif isinstance(node, (ast.Try, ast.With)):
                walk(node.body)

    walk(ast.parse(path.read_text(encoding="utf-8")).body)
    return {name for name in found if name in MODULES}


def test_no_import_cycles_between_modules():
    graph = {name: imported(path) - {name, name.rpartition(".")[0]} for name, path in MODULES.items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_methods_are_compared_by_name_only_in_their_own_package():
    names = "|".join({*methods_of("distill"), *methods_of("general")})
    compared = re.compile(rf"\bmethod\b(?:\.name)?\)? (?:==|!=|in|not in) [(\[{{]?[\"'](?:{names})[\"']|case \"(?:{names})\"")
    found = [path.relative_to(ROOT) for path in FILES if path.parent.name != "methods" and compared.search(path.read_text("utf-8"))]
    assert not found


def test_only_devices_py_asks_for_the_device_or_sets_its_precision():
    asked = re.compile(
        r"paddle\.(?:device\.)?[gs]et_device\b|\.place\.|is_\w+_place|[A-Z]\w*Place\b|is_compiled_with|device\.(?:cuda|xpu)|custom_device|\.cuda\("
        r"|paddle\.amp|auto_cast|GradScaler|paddle\.(?:float16|bfloat16)|master_weight|multi_precision|init_parallel_env|cudnn|\.pin_memory"
    )
    found = {path.relative_to(ROOT).as_posix() for path in FILES if asked.search(path.read_text("utf-8"))}
    assert found == {"devices.py"}


@pytest.mark.parametrize("option", ["hidden_weight", "emd_update_steps", "keep_hidden", "relation_heads"])
def test_option_is_known_only_where_it_is_declared_and_where_it_acts(option):
    known = [path for path in FILES if re.search(rf"\b{option}\b", path.read_text("utf-8"))]
    assert 1 <= len(known) <= 2, known


def signatures(*rooms: str) -> Iterator[tuple[str, list[ast.arg]]]:
    """The functions of some packages, with their parameters but for `self` and `cls`."""
    for path in (path for path in FILES if path.relative_to(ROOT).parts[0] in rooms):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                yield f"{path.stem}.{node.name}", [entry for entry in every if entry.arg not in ("self", "cls")]


def test_every_recipe_parameter_is_typed():
    assert not [f"{name}: {entry.arg}" for name, entries in signatures("recipes") for entry in entries if entry.annotation is None]


def test_functions_have_at_most_eight_parameters():
    long = [name for name, entries in signatures("recipes", "engine", "traces", "deploy", "report") if len(entries) > 8]
    emd = dict(signatures("objectives"))["emd.emd_objective"]
    assert not long and len(emd) <= 8


def test_no_test_name_is_longer_than_70_characters():
    names = re.compile(r"^ *def (test_\w+)", re.MULTILINE)
    found = [name for path in Path(__file__).parents[2].rglob("*.py") for name in names.findall(path.read_text("utf-8")) if len(name) > 70]
    assert not found
