"""`tinybert export`: outputs of every engine, measurements, and refused exports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.tiny import WORDS, batch, learnable_rows, logits_of
from tests.unit.deploy.conftest import run, trained_folder
from tinybert.commands.bench import BenchConfig
from tinybert.commands.export import ExportConfig
from tinybert.config.rows import DataOptions
from tinybert.deploy import export_session, measure
from tinybert.deploy.engine import open_engine
from tinybert.deploy.engines import onnx_runtime, open_vino
from tinybert.deploy.predictor import Predictor
from tinybert.errors import UserError

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
pytest.importorskip("paddle2onnx", reason="the extra `export` is not installed")
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

INPUTS = (batch(), batch(rows=1, width=5, lengths=(5,)), batch(rows=4, width=7, lengths=(7, 1, 3, 7)))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYBERT_CACHE", str(tmp_path / "cache"))


def export(tmp_path: Path, **options) -> int:
    data = tmp_path / "data"
    if not data.exists():
        learnable_rows(data, {"train": 40, "dev": 30}, seed=3)
    files = {"train_file": data / "train.tsv", "dev_file": data / "dev.tsv", "text_a_column": "sentence", "label_column": "label"}
    files |= {"labels": "0,1", "max_drop": 100, "threads": 1, "output_dir": tmp_path / "x"}
    return run("export", model_path=tmp_path / "m", **{**files, **options})


def answer(folder: Path, inputs) -> np.ndarray:
    return open_engine(folder, 1).logits(inputs.input_ids.numpy(), inputs.token_type_ids.numpy())


def record(folder: Path) -> dict:
    return json.loads((folder / "export.json").read_text())


FAMILIES = {
    "bert": ("bert", {}),
    "tinybert": ("tinybert", {}),
    "ernie": ("ernie", {"use_task_id": True, "task_id": 2, "task_type_vocab_size": 3}),
    "roberta": ("roberta", {}),
    "one segment": ("roberta", {"type_vocab_size": 1}),
    "pruned": ("bert", {"num_attention_heads": 2, "attention_head_size": 4, "embedding_rank": 3}),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_onnx_matches_the_model_at_any_batch_size_and_length(tmp_path, same_process, name):
    family, shape = FAMILIES[name]
    model = trained_folder(tmp_path / "m", family, labels=("0", "1"), **shape)
    assert export(tmp_path, precision="float32,int8") == 0
    for inputs in INPUTS:
        if shape.get("type_vocab_size") == 1:
            inputs.token_type_ids = inputs.token_type_ids * 0
        np.testing.assert_allclose(answer(tmp_path / "x" / "onnx-float32", inputs), logits_of(model, inputs), atol=1e-5)
    counts = record(tmp_path / "x" / "onnx-int8")["quantised"]
    assert counts["products"] == counts["products_before"] > 18 and counts["tables_in_float"] == 0
    config = json.loads((tmp_path / "x" / "onnx-int8" / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification" and config["trained_on"]["max_seq_length"] == 16
    graph = onnx.load(str(tmp_path / "x" / "onnx-float32" / "model.onnx")).graph
    assert [[entry.dim_param for entry in value.type.tensor_type.shape.dim] for value in graph.input] == [["batch", "length"]] * len(
        graph.input
    )
    assert graph.output[0].name == "logits"


def test_every_engine_exports_scores_and_measures(tmp_path, same_process, capsys):
    pytest.importorskip("openvino", reason="the extra `export` is not installed")
    pytest.importorskip("nncf", reason="the extra `export` is not installed")
    model = trained_folder(tmp_path / "m", "tinybert", labels=("0", "1"))
    assert export(tmp_path, format="all", precision="float32,bfloat16,int8", calibration_rows=8) == 0
    shown = capsys.readouterr().out
    folders = {path.name for path in (tmp_path / "x").iterdir() if path.is_dir()}
    expected = {"paddle-float32", "paddle-bfloat16", "onnx-float32", "onnx-int8", "openvino-float32", "openvino-bfloat16", "openvino-int8"}
    assert folders == expected
    for name in expected:
        found = record(tmp_path / "x" / name)
        exact = name.endswith("float32")
        for inputs in INPUTS:
            np.testing.assert_allclose(answer(tmp_path / "x" / name, inputs), logits_of(model, inputs), atol=1e-5 if exact else 0.8)
        assert found["measures"]["label_flips"] == 0 or not exact
        assert found["measures"]["milliseconds_1x32"] > 0 and len(found["run"]) == 8
        card = (tmp_path / "x" / name / "README.md").read_text()
        assert f"{found['rows']['metric']} {found['measures']['score']:.2f}" in card
        assert sum("float32" in line for line in card.splitlines() if line.startswith("| ")) == 4
    assert shown.count("float32") >= 4 and len(json.loads((tmp_path / "x" / "export.json").read_text())["exports"]) == 8
    small, whole = (record(tmp_path / "x" / f"openvino-{name}")["quantised"] for name in ("int8", "float32"))
    assert small["products"] == small["products_before"] and small["calibration_rows"] == 8 and whole == {}
    with pytest.raises(UserError, match=r"contains several exports: onnx-float32, onnx-int8"):
        Predictor.open(tmp_path / "x")
    data = tmp_path / "data" / "dev.tsv"
    assert run("predict", model_path=tmp_path / "x" / "openvino-int8", input=data, output=tmp_path / "p.csv") == 0
    received = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    signal.raise_signal(signal.SIGINT)  # engines that were opened and closed leave signals as they were
    signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]


def test_model_trained_with_more_than_128_tokens_is_exported(tmp_path, same_process):
    trained_folder(tmp_path / "m", labels=("0", "1"), length=200, max_position_embeddings=256)
    assert export(tmp_path, format="paddle") == 0
    assert Predictor.open(tmp_path / "x").length == 200


def test_exported_file_loads_and_scores_without_paddle(tmp_path):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    assert export(tmp_path) == 0
    measures = record(tmp_path / "x")["measures"]
    assert measures["load_seconds"] > 0 and measures["peak_megabytes"] > 10
    code = (
        "import sys; from tinybert.deploy.predictor import Predictor; "
        "print(Predictor.open(sys.argv[1]).predict(['word1 word2'])[0].label); sys.exit('paddle' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() in ("0", "1")  # and without Paddle


def test_export_that_scores_differently_in_a_new_process_is_refused(tmp_path, monkeypatch, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))

    def flipped(folder: Path, store, threads: int) -> measure.Reloaded:
        predictor = Predictor.open(folder, threads)
        logits = predictor.logits(store, 8)
        return measure.Reloaded(logits if folder.name == "m" else logits[:, ::-1], 0.0, 0.0)

    monkeypatch.setattr(measure, "reload", flipped)
    assert export(tmp_path) == 2
    assert "when the file is loaded in a new process" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_export_with_a_lower_score_needs_allow_drop(tmp_path, same_process, monkeypatch, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    quantised = onnx_runtime.OnnxRuntime.logits
    monkeypatch.setattr(
        onnx_runtime.OnnxRuntime,
        "logits",
        lambda self, ids, types: quantised(self, ids, types) * (-1 if self.precision == "int8" and len(ids) != 4 else 1),
    )
    monkeypatch.setattr(export_session, "_BATCH_TOLERANCE", 1e9)
    learnable_rows(tmp_path / "data", {"train": 40, "dev": 31}, seed=3)
    options = {"train_file": tmp_path / "data/train.tsv", "dev_file": tmp_path / "data/dev.tsv", "text_a_column": "sentence"}
    options |= {"label_column": "label", "labels": "0,1", "model_path": tmp_path / "m", "output_dir": tmp_path / "x", "precision": "int8"}
    assert run("export", **options, max_drop=10) == 2 and not (tmp_path / "x").exists()
    assert "nothing was written because of\n  onnx int8: accuracy drops by 22.58 points; allowed: 10" in capsys.readouterr().err
    assert run("export", **options, max_drop=10, allow_drop=True) == 0
    assert record(tmp_path / "x")["measures"]["score_change"] == pytest.approx(-22.58, abs=0.01)


def test_quantising_nothing_is_an_error(tmp_path, same_process, monkeypatch, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    monkeypatch.setattr("tinybert.deploy.onnx_file._tidy", lambda library, graph: setattr(graph.output[0], "name", graph.output[0].name))
    assert export(tmp_path, precision="int8") == 2
    assert "int8: 0 of" in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", [BenchConfig, ExportConfig])
def test_models_are_compared_by_every_metric_of_training(command):
    assert command.options()["metric"].choices == DataOptions.options()["metric"].choices


@pytest.mark.parametrize(("kind", "metric"), [("multi_label", "micro_f1"), ("regression", "pearson_and_spearman")])
def test_rows_are_scored_as_the_kind_of_the_model(tmp_path, same_process, kind, metric):
    trained_folder(tmp_path / "m", labels=("0", "1") if kind == "multi_label" else (), kind=kind)
    learnable_rows(tmp_path / "data", {"train": 40, "dev": 30}, seed=3)
    files = {"dev_file": tmp_path / "data" / "dev.tsv", "text_a_column": "sentence", "label_column": "label", "output_dir": tmp_path / "x"}
    assert run("export", model_path=tmp_path / "m", format="paddle", **files) == 0
    assert record(tmp_path / "x")["rows"]["metric"] == metric


def test_rows_of_another_kind_and_single_texts_for_pairs_are_refused(tmp_path, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"), pair=True)
    assert export(tmp_path) == 2
    assert "got single texts, but the model was trained on pairs of texts" in capsys.readouterr().err
    assert export(tmp_path, kind="multi_label") == 2
    assert "the model is for classification, but tiny is multi-label classification" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_export_whose_outputs_changed_is_refused(tmp_path, same_process):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    assert export(tmp_path, format="onnx") == 0
    found = record(tmp_path / "x")
    found["check"]["logits"][0][0] += 1
    (tmp_path / "x" / "export.json").write_text(json.dumps(found))
    (tmp_path / "x" / "manifest.json").unlink()
    with pytest.raises(UserError, match="gives other outputs here"):
        Predictor.open(tmp_path / "x")


def test_failing_onednn_is_disabled_with_a_warning(tmp_path, same_process, monkeypatch, capsys):
    from tinybert.deploy.engines import paddle_inference

    trained_folder(tmp_path / "m", labels=("0", "1"))
    assert export(tmp_path, format="paddle") == 0
    right = paddle_inference.PaddleInference.__init__

    def failing(self, folder, precision, threads, onednn):
        if onednn:
            raise RuntimeError("(Unimplemented) ConvertPirAttribute2RuntimeAttribute not support")
        right(self, folder, precision, threads, onednn)

    monkeypatch.setattr(paddle_inference.PaddleInference, "__init__", failing)
    assert open_engine(tmp_path / "x", 1).precision == "float32"
    assert "oneDNN of this Paddle fails (RuntimeError: (Unimplemented)" in capsys.readouterr().err


def test_export_is_replaced_only_if_all_files_are_its_own(tmp_path, same_process, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    assert export(tmp_path, format="onnx,paddle") == 0
    Predictor.open(tmp_path / "x" / "paddle-float32").predict(["word1"])
    mine = tmp_path / "x" / "onnx-float32" / "notes.txt"
    mine.write_text("mine")
    assert export(tmp_path, format="paddle", overwrite_output_dir=True) == 2
    assert "did not write (onnx-float32/notes.txt) and is not replaced" in capsys.readouterr().err and mine.read_text() == "mine"
    mine.unlink()
    assert export(tmp_path, format="paddle", overwrite_output_dir=True) == 0
    assert (tmp_path / "x" / "inference.pdiparams").is_file() and not (tmp_path / "x" / "onnx-float32").exists()


def test_inputs_are_passed_by_name(tmp_path, same_process):
    model = trained_folder(tmp_path / "m", labels=("0", "1"))
    assert export(tmp_path) == 0
    path = tmp_path / "x" / "model.onnx"
    file = onnx.load(str(path))
    first, second = (onnx.ValueInfoProto() for _ in range(2))
    first.CopyFrom(file.graph.input[0])
    second.CopyFrom(file.graph.input[1])
    del file.graph.input[:]
    file.graph.input.extend([second, first])
    onnx.save(file, str(path))
    np.testing.assert_allclose(answer(tmp_path / "x", INPUTS[0]), logits_of(model, INPUTS[0]), atol=1e-5)


def test_pruned_vocabulary_keeps_task_words_and_maps_the_rest_to_unk(tmp_path, same_process, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    learnable_rows(tmp_path / "data", {"train": 40, "dev": 30}, seed=3)
    text = (tmp_path / "data" / "train.tsv").read_text()
    assert "word29" in text and "word34" not in text
    assert export(tmp_path, prune_vocabulary=True) == 0
    vocabulary = (tmp_path / "x" / "vocab.txt").read_text().splitlines()
    assert vocabulary == WORDS[:35] and "35 of 40 tokens" in capsys.readouterr().out
    whole, cut = Predictor.open(tmp_path / "m"), Predictor.open(tmp_path / "x")
    for found, expected in zip(cut.predict(["word3 word29"]), whole.predict(["word3 word29"]), strict=True):
        assert found.probabilities["1"] == pytest.approx(expected.probabilities["1"], abs=1e-5)
    assert cut.predict(["word34"])[0].probability == pytest.approx(whole.predict(["[UNK]"])[0].probability, abs=1e-5)


def test_impossible_exports_are_refused_with_a_reason(tmp_path, same_process, monkeypatch, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    assert export(tmp_path, format="onnx", precision="bfloat16") == 2
    assert "--format onnx does not support bfloat16; it supports float32, int8" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert export(tmp_path, format="onnx") == 2
    assert "python -m pip install 'tinybert-paddle[export]'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.fixture
def nothing_scored(monkeypatch):
    """Fails as soon as dev rows are scored."""
    monkeypatch.setattr(Predictor, "logits", lambda *_: pytest.fail("scored"))


@pytest.mark.parametrize("library", ["onnx", "paddle2onnx", "onnxruntime", "openvino", "nncf"])
def test_missing_library_is_reported_before_rows_are_scored(library, tmp_path, nothing_scored, monkeypatch, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    monkeypatch.setitem(sys.modules, library, None)
    assert export(tmp_path, format="all", precision="float32,int8") == 2
    assert f"needs {library}, which is not installed" in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("form", ["paddle", "onnx", "openvino"])
def test_mpnet_is_refused_before_rows_are_scored(form, tmp_path, nothing_scored, capsys):
    trained_folder(tmp_path / "m", "mpnet", labels=("0", "1"), type_vocab_size=1, relative_attention_num_buckets=32)
    assert export(tmp_path, format=form) == 2
    assert "MPNet cannot be converted to a program" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_bfloat16_the_processor_lacks_is_reported_before_rows_are_scored(tmp_path, nothing_scored, monkeypatch, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    monkeypatch.setattr(open_vino, "_core", lambda: SimpleNamespace(get_property=lambda *_: ["FP32"]))
    assert export(tmp_path, format="openvino", precision="bfloat16") == 2
    assert "this processor does not support bfloat16" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_missing_training_rows_are_reported_before_rows_are_scored(tmp_path, nothing_scored, capsys):
    trained_folder(tmp_path / "m", labels=("0", "1"))
    learnable_rows(tmp_path / "data", {"train": 8, "dev": 8}, seed=3)
    files = {"dev_file": tmp_path / "data" / "dev.tsv", "text_a_column": "sentence", "label_column": "label", "output_dir": tmp_path / "x"}
    assert run("export", model_path=tmp_path / "m", format="openvino", precision="int8", **files) == 2
    assert "tiny has no training rows, which are needed for calibration" in capsys.readouterr().err


def test_token_classification_is_exported_and_scored(tmp_path, monkeypatch, capsys):
    from tests.tiny import SHAPE, word_pieces
    from tinybert.kinds.registry import KINDS
    from tinybert.models.configuration import TrainedOn
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.saving import save_model

    labels = ("O", "B-LOC", "I-LOC")
    model = build(family("bert"), dict(SHAPE), 3, "tiny", "token")
    head = KINDS["token_classification"].head_config(labels)
    save_model(tmp_path / "m", model, family("bert"), word_pieces(), labels, head_config=head, trained_on=TrainedOn("names", False, 16))
    random = np.random.default_rng(0)
    sentences = [[f"word{random.integers(30)} {labels[random.integers(3)]}" for _ in range(random.integers(1, 20))] for _ in range(12)]
    (tmp_path / "dev.conll").write_text("\n\n".join("\n".join(words) for words in sentences) + "\n")
    options = {"dev_file": tmp_path / "dev.conll", "kind": "token_classification", "output_dir": tmp_path / "x", "threads": 1}
    assert run("export", model_path=tmp_path / "m", precision="float32", **options) == 0
    measures = record(tmp_path / "x")["measures"]
    assert measures["label_flips"] == 0 and measures["logit_difference"] < 1e-4
    card = (tmp_path / "x" / "README.md").read_text()
    assert "pipeline_tag: token-classification" in card and "`logits`, `[batch, length, tags]`" in card
    assert "--output predictions.jsonl" in card and "tinybert serve" not in card
    inputs = INPUTS[0]
    np.testing.assert_allclose(answer(tmp_path / "x", inputs), logits_of(model, inputs), atol=1e-5)
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"] and config["id2label"]["1"] == "B-LOC"
    text = "word1 word2, word3"
    exported, plain = (Predictor.open(tmp_path / name).predict([text])[0].spans for name in ("x", "m"))
    assert [replace(span, score=0) for span in exported] == [replace(span, score=0) for span in plain]
    assert all(span.text == text[span.begin : span.end] and span.label == "LOC" for span in exported)


@pytest.mark.parametrize("form", ["onnx", "paddle", "openvino"])
def test_question_answering_is_exported_and_scored(form, request, tmp_path):
    from tests.recipes.kinds.test_question_answering import write_questions
    from tests.tiny import SHAPE, word_pieces
    from tinybert.models.configuration import TrainedOn
    from tinybert.models.families import family
    from tinybert.models.loading import build
    from tinybert.models.saving import save_model

    if form != "onnx":  # one of them is loaded in a new process
        request.getfixturevalue("same_process")
    model = build(family("tinybert"), dict(SHAPE), 2, "tiny", "span")
    save_model(tmp_path / "m", model, family("tinybert"), word_pieces(), (), trained_on=TrainedOn("asked", True, 20))
    dev = write_questions(tmp_path / "dev.json", 12, 0)
    assert (
        run("export", model_path=tmp_path / "m", format=form, precision="float32", dev_file=dev, output_dir=tmp_path / "x", threads=1) == 0
    )
    measures = record(tmp_path / "x")["measures"]
    assert measures["score_change"] == 0 and measures["logit_difference"] < 1e-4
    card = (tmp_path / "x" / "README.md").read_text()
    assert "pipeline_tag: question-answering" in card and "`[batch, length, 2]`" in card and "tinybert serve" not in card
    row = ("word2 word3", " ".join(f"word{i}" for i in range(4, 29)))
    exported, plain = (Predictor.open(tmp_path / name).predict([row])[0].spans for name in ("x", "m"))
    assert [(span.begin, span.end) for span in exported] == [(span.begin, span.end) for span in plain]
