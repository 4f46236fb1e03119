"""Every command and every block of Python on the pages runs, in order, on models and data of a few kilobytes."""

from __future__ import annotations

import functools
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

import tinybert as tb
from tests import tiny
from tests.pages import PAGES as ALL_PAGES
from tests.pages import ROOT, blocks, called, command_lines
from tinybert.cli.main import run_script
from tinybert.cli.parser import spellings_of

PAGES = ["README.md", *(f"docs/{name}.md" for name in ("augmentation", "compare", "general", "guide", "methods", "models", "pretrain"))]
PAGES += [f"pretrained_models/general-4x312-{language}/README.md" for language in ("en", "zh")]
ELSEWHERE = ["docs/api.md", "docs/data.md", "docs/deploy.md"]  # executed by tests of their own
LETTERS = ["".join(letters) for letters in product("bcdfgklmn", "aeiou", "rstvz")][:180]
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
WORDS = [*tiny.SPECIAL, *LETTERS, *ALPHABET, *(f"##{letter}" for letter in ALPHABET)]
SHAPE = {"num_hidden_layers": 12, "hidden_size": 24, "num_attention_heads": 12, "intermediate_size": 48, "max_position_embeddings": 130}

_STEPS = {"max_steps": "2", "batch_size": "8"}
SMALL = {  # options of each command in the test
    "distill": {**_STEPS, "max_seq_length": "16", "allow_weak_teacher": "True"},
    "finetune": {**_STEPS, "max_seq_length": "16"},
    "general": {**_STEPS, "held_out_sequences": "4", "warmup_steps": "1"},
    "pretrain": {**_STEPS, "held_out_sequences": "4", "max_seq_length": "16"},
    "pregenerate": {"max_seq_len": "16", "epochs_to_generate": "1", "num_workers": "1"},
    "augment": {"N": "1", "num_workers": "1"},
    "compare": {"max_seq_length": "16", "methods": "none", "students": "teacher:2,4", "seeds": "1", "updates": "3", "budget_minutes": ""},
    "auto": {"max_seq_length": "16", "students": "teacher:2,4", "max_ms": "", "max_mb": ""},
    "search": {"trials": "1", "budget_minutes": ""},
}
BASE = ["task_name: MRPC", "teacher_path: pretrained_models/MRPC", "student_init: 'teacher:2,4'", "stage: both", "device: cpu"]
BASE += ["batch_size: 8", "max_seq_length: 16", "allow_weak_teacher: true"]
BESIDE = {  # additional options for lines with the option on the left
    "emb_hidden_dim": {"ffn_hidden_dim": "16", "emb_hidden_dim": "8"},
    "prune_schedule": {"max_steps": "14", "prune_period_proportion": "1"},
}


def sentence(numbers: random.Random, label: int = 0) -> str:
    """Some words; the label determines which half of the vocabulary is used."""
    return " ".join(numbers.choices(LETTERS[90 * label : 90 * (label + 1)], k=numbers.randint(3, 8)))


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """All models, files and tasks that the pages mention."""
    root, numbers = tmp_path_factory.mktemp("pages"), random.Random(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "WORDS", WORDS)
        for name, labels in {
            "pretrained_models/SST-2": "01", "pretrained_models/MRPC": "01", "my-macbert": ("bad", "good"), "all-minilm-l6-v2": "01",
            "models/bert-base-uncased": "01", "minilm-l6-uncased-mlm": "01", "bert-base-uncased-hf": "01", "bert-base-chinese": "01",
        }.items():  # fmt: skip
            tiny.model_folder(root / name, labels=tuple(labels), vocab_size=len(WORDS), **SHAPE)
        general = dict.fromkeys(("tinybert-4l-312d", "tinybert-4l-312d-v2", "general-4x312-en", "general-4x312-zh"), 4)
        for name, layers in {"tinybert-6l-768d-v2": 6, **general}.items():
            tiny.model_folder(root / name, "tinybert", vocab_size=len(WORDS), **{**SHAPE, "num_hidden_layers": layers})
        tiny.masked_lm_folder(root / "bert-base-uncased", WORDS, max_position_embeddings=130)
    for split, count in (("train", 24), ("dev", 12), ("test", 4)):
        rows = [(sentence(numbers, number % 2), sentence(numbers, number % 2), number % 2) for number in range(count)]
        for folder in ("home/Glue/SST-2", "data/Glue/SST-2", "data/SST-2"):
            write(root / folder / f"{split}.tsv", ["sentence\tlabel", *(f"{one}\t{label}" for one, _, label in rows)])
        pairs = ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *(f"{label}\t1\t2\t{one}\t{two}" for one, two, label in rows)]
        write(root / "home/Glue/MRPC" / f"{split}.tsv", pairs)
        write(root / f"{split}.csv", ["text,label", *(f"{one},{('bad', 'good')[label]}" for one, _, label in rows)])
    write(root / "new.csv", ["text", *(sentence(numbers) for _ in range(3))])
    for name in ("wiki.txt", "enwiki.txt", "text/one.txt"):
        write(root / name, [line for _ in range(12) for line in (*(sentence(numbers) for _ in range(4)), "")])
    write(root / "options.yaml", BASE)
    write(root / "glove.6B.300d.txt", [f"{word} {numbers.random():.4f} {numbers.random():.4f}" for word in LETTERS])
    return root


@pytest.fixture
def world(originals, tmp_path, monkeypatch, runs_in_this_process, same_process) -> Path:
    """A working folder with copies of them."""
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(tiny, "WORDS", WORDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tinybert.recipes.compare._affordable", lambda *_: 3)  # updates, whatever the budget
    return tmp_path


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def smaller(command, options: list[str]) -> list[str]:
    """The options of a command with the test's values instead of the page's."""
    spellings = spellings_of(command.config)
    names = [spellings.get(word[2:].split("=")[0]) if word.startswith("--") else None for word in options]
    small = dict(SMALL.get(command.name, {}))
    for name, more in BESIDE.items():
        small |= more if name in names else {}
    kept, keep = [], True
    for word, name in zip(options, names, strict=True):
        keep = name not in small if word.startswith("--") else keep
        kept += [word] if keep else []
    return [*kept, *(word for name, value in small.items() if value for word in (f"--{name}", value))]


def run_line(line: str) -> None:
    """Run a line of a page, which must exit with code 0."""
    command, options = called(line)
    if command.name == "search" and not importlib.util.find_spec("optuna"):
        return  # the extra `search` is not installed
    if "|" in line.split():
        piped = {**os.environ, "PYTHONPATH": str(ROOT)}
        line = line.replace("| tinybert", f"| {sys.executable} -m tinybert")
        done = subprocess.run(["bash", "-c", line], env=piped, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr
    else:
        assert run_script(command, smaller(command, options)) == 0, line


def run_python(code: str, page: str, names: dict) -> None:
    """Run a block of Python with a few updates per stage."""
    few = {"max_steps": 2, "batch_size": 8, "max_seq_length": 16, "device": "cpu"}
    training = tb.Training
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tb, "Training", lambda **options: training(**options | few))
        patch.setattr(tb, "distill", functools.partial(tb.distill, allow_weak_teacher=True))
        exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page, world):
    if page == "docs/models.md":
        tiny.model_folder(world / "runs" / "SST-2", labels=("bad", "good"), vocab_size=len(tiny.WORDS), **SHAPE)
    names: dict = {}
    for language, runs, code in blocks(ROOT / page, "bash", "python"):
        if runs and language == "python":
            run_python(code, page, names)
        for line in command_lines(code) if runs and language == "bash" else ():
            run_line(line)


def test_every_page_with_code_is_executed():
    english = [page for page in ALL_PAGES if not page.name.endswith(".zh.md")]  # the Chinese pages have the same blocks
    with_code = {str(page.relative_to(ROOT)) for page in english if any(runs for _, runs, _ in blocks(page, "bash", "python"))}
    assert with_code == {*PAGES, *ELSEWHERE}


def test_scores_of_the_readme_are_those_of_the_benchmark():
    known = (ROOT / "benchmark/glue/README.md").read_text(encoding="utf-8")
    for name in ("README.md", "README.zh.md"):
        rows = re.findall(r"^\|.* MB \|.*", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        scores = [cell.strip() for row in rows for cell in row.split("|")[5:8]]
        assert len(rows) == 6 and all(score in known for score in scores)
