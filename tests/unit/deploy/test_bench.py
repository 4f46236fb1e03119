"""`tinybert bench`: models compared in score and speed, with a plot."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.tiny import learnable_rows
from tests.unit.deploy.conftest import run, trained_folder
from tinybert.deploy import bench
from tinybert.deploy.bench import Measured, efficient
from tinybert.deploy.predictor import Predictor


def measured(name: str, milliseconds: float, score: float) -> Measured:
    return Measured(name, "e", "float32", score, milliseconds, 0.1, milliseconds - 0.1, 1000 / milliseconds, 1.0)


def test_models_are_scored_timed_and_plotted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))
    learnable_rows(tmp_path / "data", {"train": 8, "dev": 30}, seed=3)
    for name, layers in (("teacher", 3), ("student", 1)):
        trained_folder(tmp_path / name, labels=("0", "1"), num_hidden_layers=layers)
    options = {"models": f"{tmp_path}/teacher,{tmp_path}/student", "dev_file": tmp_path / "data" / "dev.tsv", "text_a_column": "sentence"}
    options |= {"label_column": "label", "output_dir": tmp_path / "out", "rows": 6, "threads": 1}
    assert run("bench", **options) == 0
    record = json.loads((tmp_path / "out" / "bench.json").read_text())
    rows = [line.split("\t") for line in (tmp_path / "data" / "dev.tsv").read_text().splitlines()[1:]]
    for found in record["models"]:
        said = Predictor.open(tmp_path / found["name"]).predict([text for text, _ in rows])
        hits = sum(prediction.label == label for prediction, (_, label) in zip(said, rows, strict=True))
        assert found["score"] == 100 * hits / len(rows)
        assert 0 < found["tokenise_milliseconds"] < found["milliseconds"] and found["run_milliseconds"] > 0 and found["megabytes"] > 0
    assert (tmp_path / "out" / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(tmp_path / "out" / "pareto.svg").getroot().tag.endswith("svg")
    shown = capsys.readouterr().out
    assert "| teacher " in shown and "fastest for one row: " in shown
    assert run("bench", **options) == 2 and "--overwrite_output_dir" in capsys.readouterr().err
    assert run("bench", **options, overwrite_output_dir=True) == 0


def test_pairs_and_models_named_twice_are_refused(tmp_path, single, pairs, capsys):
    learnable_rows(tmp_path / "data", {"train": 8, "dev": 6}, seed=3)
    data = {"dev_file": tmp_path / "data" / "dev.tsv", "text_a_column": "sentence", "label_column": "label", "labels": "no,yes"}
    assert run("bench", models=f"{single},{single}", output_dir=tmp_path / "o", **data) == 2
    assert "Give every model once" in capsys.readouterr().err
    assert run("bench", models=f"{single},{pairs}", output_dir=tmp_path / "o", **data) == 2
    assert "trained on pairs" in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_model_of_another_kind_is_refused_before_any_is_scored(tmp_path, monkeypatch, capsys):
    learnable_rows(tmp_path / "data", {"train": 8, "dev": 6}, seed=3)
    for name, kind in (("first", "multi_label"), ("second", "classification")):
        trained_folder(tmp_path / name, labels=("0", "1"), kind=kind)
    monkeypatch.setattr(bench, "_score", lambda *_: pytest.fail("scored"))
    data = {"dev_file": tmp_path / "data" / "dev.tsv", "text_a_column": "sentence", "label_column": "label"}
    assert run("bench", models=f"{tmp_path}/first,{tmp_path}/second", output_dir=tmp_path / "o", **data) == 2
    assert "the model is for classification, but tiny is multi-label classification" in capsys.readouterr().err


def test_pareto_front_leaves_out_models_worse_in_score_and_time():
    slow, fast, bad, middle = measured("slow", 9, 90), measured("fast", 1, 80), measured("bad", 5, 79), measured("middle", 3, 85)
    assert [one.name for one in efficient([slow, fast, bad, middle])] == ["fast", "middle", "slow"]
