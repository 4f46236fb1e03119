"""Programs for Paddle Inference: their outputs, and refused conversions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.tiny import LABELS, SHAPE, WORDS, arrays_of, batch, classifier, logits_of, model_folder
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.cli.main import main
from tinybert.models import inference_program
from tinybert.models.trace import Inputs


def convert(source: Path, output: Path, *more: str) -> int:
    return main(["convert", "--model_path", str(source), "--output_dir", str(output), "--to", "inference", *more])


def answer(folder: Path, inputs) -> np.ndarray:
    predictor = inference_program._predictor(folder)
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(getattr(inputs, name).numpy())
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


PRUNED = {"num_attention_heads": 2, "attention_head_size": 4, "embedding_rank": 3}


@pytest.mark.both_lanes
@pytest.mark.parametrize(
    ("model_type", "shape", "labels"),
    [
        *((model_type, {}, LABELS) for model_type in ("bert", "tinybert", "ernie", "roberta", "electra", "distilbert")),
        ("bert", PRUNED, LABELS),
        ("bert", {}, ("a", "b", "c")),
        ("bert", {}, ()),
    ],
    ids=["bert", "tinybert", "ernie", "roberta", "electra", "distilbert", "pruned", "three labels", "regression"],
)
def test_program_matches_the_model_at_any_shape(tmp_path, capsys, model_type, shape, labels):
    model = model_folder(tmp_path / "model", model_type, labels, **shape)
    assert convert(tmp_path / "model", tmp_path / "served") == 0
    assert "verified: largest absolute difference of logits on a fixed batch" in capsys.readouterr().out
    for inputs in (batch(), batch(rows=1, width=5, lengths=(5,)), batch(rows=4, width=7, lengths=(7, 1, 3, 7))):
        np.testing.assert_allclose(answer(tmp_path / "served", inputs), logits_of(model, inputs), atol=1e-5)
    config = json.loads((tmp_path / "served" / "config.json").read_text())
    assert tuple(config.get("id2label", {}).values())[: len(labels)] == labels
    assert (tmp_path / "served" / "vocab.txt").read_bytes() == (tmp_path / "model" / "vocab.txt").read_bytes()


def test_wrong_program_or_missing_classifier_is_not_written(tmp_path, monkeypatch, capsys):
    model_folder(tmp_path / "model")
    monkeypatch.setattr(inference_program, "TOLERANCE", -1.0)
    assert convert(tmp_path / "model", tmp_path / "served") == 2
    assert "gives other logits" in capsys.readouterr().err and not (tmp_path / "served").exists()
    monkeypatch.undo()
    arrays = {name: array for name, array in hugging_face_arrays(arrays_of(classifier())).items() if "classifier" not in name}
    write_folder(tmp_path / "bare", arrays, {"model_type": "bert", **SHAPE}, WORDS)
    assert convert(tmp_path / "bare", tmp_path / "served") == 2
    assert "has no classifier" in capsys.readouterr().err and not (tmp_path / "served").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {"model", "bare"}


def test_existing_program_is_replaced_only_on_request(tmp_path):
    model_folder(tmp_path / "model")
    assert convert(tmp_path / "model", tmp_path / "served") == 0
    assert convert(tmp_path / "model", tmp_path / "served") == 2
    assert convert(tmp_path / "model", tmp_path / "served", "--overwrite_output_dir") == 0


def test_code_on_the_serving_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page.split("## Serving")[1], flags=re.DOTALL)
    model = model_folder(tmp_path / "model", "tinybert")
    assert convert(tmp_path / "model", tmp_path / "served") == 0
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    ids = [[2, 5, 6, 3, 0], [2, 7, 8, 9, 3]]
    inputs = Inputs(paddle.to_tensor(ids), paddle.zeros([2, 5], "int64"), (paddle.to_tensor(ids) > 0).astype("float32"))
    np.testing.assert_allclose(names["logits"](["word0 word1", "word2 word3 word4"]), logits_of(model, inputs), atol=1e-5)
