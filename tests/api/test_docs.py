"""The API page: every block runs, and every public name is documented."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinybert as tb
from tests import tiny
from tests.recipes.conftest import runs_in_this_process  # noqa: F401  a fixture

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def smaller(monkeypatch, name, **values) -> None:
    """Replace arguments of a function in all calls."""
    real = getattr(tb, name)
    monkeypatch.setattr(tb, name, lambda *given, **options: real(*given, **{**options, **values}))


@pytest.mark.usefixtures("runs_in_this_process", "same_process")
def test_every_code_block_of_the_page_runs(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    (tmp_path / "glue").mkdir()
    tiny.learnable_rows(tmp_path / "glue" / "SST-2", {"train": 24, "dev": 16}, seed=1)
    tiny.model_folder(
        tmp_path / "pretrained_models" / "SST-2",
        labels=("0", "1"),
        num_hidden_layers=6,
        hidden_size=24,
        num_attention_heads=12,
        max_position_embeddings=128,
    )
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text("review,stars\nword1,good\nword2,bad\nword3,good\n")
    sentences = [" ".join(f"word{number}" for number in random.integers(0, 35, 8)) for _ in range(60)]
    (tmp_path / "text.txt").write_text("\n".join(f"{text}\n" if i % 4 == 3 else text for i, text in enumerate(sentences)))
    tiny.masked_lm_folder(tmp_path / "bert-base-uncased", tiny.WORDS)
    (tmp_path / "glove.6B.300d.txt").write_text("word1 0.5 0.5\nword2 0.5 -0.5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    real = tb.Training
    monkeypatch.setattr(tb, "Training", lambda **options: real(**{**options, "max_steps": 2, "batch_size": 8, "device": "cpu"}))
    monkeypatch.setattr(tb, "distill", functools.partial(tb.distill, allow_weak_teacher=True))  # its weights are random
    monkeypatch.setattr("tinybert.recipes.compare._affordable", lambda *_: 3)  # updates, whatever the budget
    few = {"max_seq_length": 16, "device": "cpu"}
    smaller(monkeypatch, "augment", N=1, device="cpu")
    smaller(monkeypatch, "compare", **few, students=["teacher:2,4,6"], methods=["none"], seeds=[1])
    smaller(monkeypatch, "auto", **few, students=["teacher:2,4,6"], max_ms=None, max_mb=None)
    smaller(monkeypatch, "search", trials=1, allow_weak_teacher=True)
    world: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        if "tb.search" not in block or importlib.util.find_spec("optuna"):
            exec(compile(block, "docs/api.md", "exec"), world)


def test_every_public_name_is_documented_and_on_the_page():
    missing = [name for name in tb.__all__ if not name.startswith("_") and not re.search(rf"\btb\.{name}\b|\*\*`{name}`\*\*", PAGE)]
    assert not missing
    assert all((getattr(tb, name).__doc__ or "").strip() for name in tb.__all__ if not name.startswith("_"))


def test_help_lists_the_options_of_training():
    assert "learning_rate: peak learning rate" in tb.Training.__doc__
    assert "max_steps" in inspect.signature(tb.Training).parameters and "output_dir" not in inspect.signature(tb.Training).parameters


def test_import_needs_no_paddle():
    code = "import sys; import tinybert as tb; tb.Training(max_steps=2); tb.TinyBERT(); print('paddle' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "False\n"
