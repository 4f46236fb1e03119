"""docs/deploy.md: its code for an ONNX file runs without this project and predicts like `predict`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import learnable_rows
from tests.unit.deploy.conftest import run, trained_folder
from tinybert.deploy.predictor import Predictor

for name in ("onnx", "paddle2onnx", "onnxruntime"):
    pytest.importorskip(name, reason="the extra `export` is not installed")

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "deploy.md").read_text(encoding="utf-8")
TEXTS = ["word1 word2, word7!", "word30", "Word12 unknown word21 " * 9, *(f"word{i} word{3 * i % 35}" for i in range(20))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the export `served`."""
    home = tmp_path_factory.mktemp("page")
    for seed in range(50):  # otherwise the code on the page could always print the same
        trained_folder(home / "m", "tinybert", labels=("bad", "good"), seed=seed)
        if len({found.label for found in Predictor.open(home / "m", 1).predict(TEXTS)}) == 2:
            break
    learnable_rows(home / "data", {"train": 4, "dev": 12}, seed=3)
    rows = (home / "data" / "dev.tsv").read_text().replace("\t0\n", "\tbad\n").replace("\t1\n", "\tgood\n")
    (home / "dev.tsv").write_text(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYBERT_CACHE", str(home / "cache"))
        options = {"dev_file": home / "dev.tsv", "text_a_column": "sentence", "label_column": "label", "output_dir": home / "served"}
        assert run("export", model_path=home / "m", **options) == 0
    return home


def code(language: str) -> str:
    """The only block of the page in this language, with the test's texts instead of the page's."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert block.count('["a fine film", "a mess"]') == 1
    return block.replace('["a fine film", "a mess"]', json.dumps(TEXTS))


def expected(folder: Path) -> list[str]:
    found = [prediction.label for prediction in Predictor.open(folder / "served", 1).predict(TEXTS)]
    assert len(set(found)) == 2
    return found


def test_python_code_of_the_page_predicts_like_predict(folder):
    done = subprocess.run([sys.executable, "-c", code("python")], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.replace("'", '"')) == expected(folder)


def test_node_code_of_the_page_predicts_like_predict(folder):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if subprocess.run([node, "-e", "require('onnxruntime-node')"], capture_output=True, env=os.environ, check=False).returncode:
        pytest.skip("onnxruntime-node is not installed (npm install onnxruntime-node, NODE_PATH names its node_modules)")
    done = subprocess.run([node, "-e", code("js")], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected(folder)
