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

from tests.browser import request_json
from tests.conftest import reload_here
from tests.pages import blocks, called, command_lines
from tests.tiny import learnable_rows
from tests.unit.deploy.conftest import run, trained_folder
from tests.unit.deploy.test_serve import needs_serve, served
from tinybert.cli.main import run_script
from tinybert.deploy import measure
from tinybert.deploy.predictor import Predictor

for name in ("onnx", "paddle2onnx", "onnxruntime"):
    pytest.importorskip(name, reason="the extra `export` is not installed")

FILE = Path(__file__).resolve().parents[3] / "docs" / "deploy.md"
PAGE = FILE.read_text(encoding="utf-8")
LINES = [line for _, runs, code in blocks(FILE, "bash") for line in command_lines(code) if runs]
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
        patch.setattr(measure, "reload", reload_here)
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
        pytest.skip("onnxruntime-node is not installed (docs/deploy.md has the command; NODE_PATH names its node_modules)")
    done = subprocess.run([node, "-e", code("js")], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected(folder)


def test_predict_lines_of_the_page_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained_folder(tmp_path / "runs" / "SST-2", labels=("bad", "good"))
    (tmp_path / "new.csv").write_text("text\nword1 word2\nword3\n")
    (tmp_path / "lines.txt").write_text("word1\nword2\n")
    from_file, from_stdin = (line for line in LINES if "tinybert predict" in line)
    command, words = called(from_file)
    assert run_script(command, words) == 0 and (tmp_path / "predictions.csv").read_text().count("\n") == 3
    piped = from_stdin.replace("| tinybert", f"| {sys.executable} -m tinybert")
    environment = {**os.environ, "PYTHONPATH": str(FILE.parents[1])}
    done = subprocess.run(["bash", "-c", piped], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("\n") == 3, done.stderr


@pytest.mark.long
def test_export_and_bench_lines_of_the_page_run(folder, tmp_path, monkeypatch):
    for name in ("openvino", "nncf"):
        pytest.importorskip(name, reason="the extra `export` is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_HOME", str(tmp_path / "home"))
    for name in ("SST-2", "own", "teacher", "student"):
        trained_folder(tmp_path / "runs" / name, labels=("0", "1") if name != "own" else ("bad", "good"), length=16)
    (tmp_path / "home" / "Glue").mkdir(parents=True)
    learnable_rows(tmp_path / "home" / "Glue" / "SST-2", {"train": 24, "dev": 12}, seed=3)
    for name in ("train", "dev"):
        rows = (tmp_path / "home" / "Glue" / "SST-2" / f"{name}.tsv").read_text().replace("sentence\tlabel", "text,label")
        (tmp_path / f"{name}.csv").write_text(rows.replace("\t0\n", ",bad\n").replace("\t1\n", ",good\n"))
    for line in LINES:
        if "tinybert export" in line:
            command, words = called(line)
            task = ["--task_name", "SST-2"] if "runs/SST-2" in line else []
            assert run_script(command, [*words, *task, "--allow_drop"]) == 0, line
    (line,) = (line for line in LINES if "tinybert bench" in line)
    assert run_script(*called(line)) == 0
    assert (tmp_path / "comparison" / "bench.md").is_file()


@needs_serve
def test_curl_lines_of_the_page_are_answered_by_the_server(folder):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    assert sum("tinybert serve" in line for line in LINES) == 2
    with served(folder / "served") as (address, _):
        request_json(f"{address}/health")
        lines = [line for line in LINES if line.startswith("curl localhost:8000")]
        for line in lines:
            done = subprocess.run(["bash", "-c", line.replace("localhost:8000", address)], capture_output=True, text=True, check=True)
            assert json.loads(done.stdout)["predictions"][0]["label"] in ("bad", "good")
    assert len(lines) == 2
