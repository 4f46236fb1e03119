"""PKD, DistilBERT, MiniLM and MiniLMv2 train, read stored traces and refuse unsuitable options."""

from __future__ import annotations

import numpy as np
import pytest

from tests.recipes.conftest import QUICK, distill, logged
from tinybert.errors import UserError

STUDENT = ("--student_layers", "2", "--student_hidden", "16", "--student_heads", "4", "--max_seq_length", "32")
METHODS = {
    "pkd": (("--method", "pkd", "--pkd_layers", "last", "--alpha", "0.5"), {"pkd", "pred", "gold"}),
    "distilbert": (("--method", "distilbert", "--alpha", "0.5"), {"cos", "pred", "gold"}),
    "minilm": (("--method", "minilm", "--stage", "joint"), {"last", "pred"}),
    "minilmv2": (("--method", "minilmv2", "--stage", "joint", "--minilmv2_heads", "8"), {"rela", "pred"}),
}


def run(teacher, output, *more) -> None:
    words = ("--task_name", "demo", "--teacher_path", teacher, "--output_dir", output, "--max_steps", "3", "--logging_steps", "1")
    distill(*words, *STUDENT, *QUICK[2:], *more)


@pytest.mark.parametrize("name", METHODS)
def test_method_trains_with_its_own_parts_live_and_stored(teacher, tmp_path, name):
    words, parts = METHODS[name]
    run(teacher, tmp_path / "live", *words, "--teacher_traces", "live")
    run(teacher, tmp_path / "stored", *words, "--teacher_traces", tmp_path / "traces", "--teacher_traces_dtype", "float32")
    live, stored = (logged(tmp_path / folder, "prediction") for folder in ("live", "stored"))
    assert parts <= set(live[0])
    np.testing.assert_allclose([line["loss"] for line in stored], [line["loss"] for line in live], rtol=1e-5)


def test_option_of_another_method_is_refused(teacher, tmp_path):
    with pytest.raises(UserError, match="--pkd_weight belongs to --method pkd"):
        run(teacher, tmp_path, "--method", "minilm", "--pkd_weight", "5")
    with pytest.raises(UserError, match="choose a student with 4 heads"):
        run(teacher, tmp_path, "--method", "minilm", "--stage", "intermediate", "--student_heads", "2")
