"""A model folder of one pair of Paddle and PaddleNLP in the other pair. OTHER_LANE names the other Python; `make test-2.6` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
EVALUATE = [
    "-m",
    "tinybert",
    "finetune",
    "--task_name",
    "SST-2",
    "--do_eval",
    "--max_seq_length",
    "16",
    "--device",
    "cpu",
    "--threads",
    "1",
]
WRITE = "import sys; from tinybert import runtime; runtime.prepare(1); from tests import tiny; from pathlib import Path; "
WRITE += "tiny.model_folder(Path(sys.argv[1]), sys.argv[2], labels=('0', '1'), seed=5, num_hidden_layers=2)"


def _scores(python: str, model: Path, data: Path, output: Path) -> dict[str, float]:
    words = ["--model_name_or_path", str(model), "--data_dir", str(data), "--output_dir", str(output)]
    environment = {**os.environ, "TINYBERT_CACHE": str(output.parent / f"cache {Path(python).parts[-3]}")}
    done = subprocess.run([python, *EVALUATE, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((output / "eval_results.json").read_text())["evaluation"]["scores"]


@pytest.mark.both_lanes
@pytest.mark.parametrize("model_type", ["tinybert", "ernie"])
def test_model_of_one_lane_scores_the_same_in_the_other(tmp_path, model_type):
    other = os.environ.get("OTHER_LANE")
    if other is None:
        pytest.skip("no second Paddle here: OTHER_LANE names the Python of the other lane, `make test-2.6` has both")
    tiny.learnable_rows(tmp_path / "data", {"train": 8, "dev": 64}, seed=3)
    for number, writer in enumerate((sys.executable, other)):
        model = tmp_path / f"model{number}"
        subprocess.run([writer, "-c", WRITE, str(model), model_type], cwd=ROOT, check=True)
        here, there = (
            _scores(python, model, tmp_path / "data", tmp_path / f"{number}{name}")
            for name, python in (("here", sys.executable), ("there", other))
        )
        assert here.keys() == there.keys() and here == pytest.approx(there, abs=1e-5)
