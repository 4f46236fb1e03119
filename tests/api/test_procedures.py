"""The other procedures: each returns what the next one accepts."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import tinybert as tb
from tests import tiny
from tests.api.conftest import STEPS

SMALL = {**STEPS, "max_steps": 2}


@pytest.fixture(scope="module")
def data(folder) -> tb.Data:
    return tb.load_task("SST-2", folder / "SST-2")


def test_pruned_model_can_be_distilled(folder, data, tmp_path):
    short = tb.Training(max_seq_length=16, device="cpu")
    pruned = tb.prune(folder / "teacher", data=data, training=short, output_dir=tmp_path / "cut", keep_heads=1, num_layers=2)
    assert pruned.config["num_hidden_layers"] == 2 and pruned.parameters < tb.load(folder / "teacher").parameters
    run = tb.distill(
        folder / "teacher", pruned, data, method=tb.Logits(), training=tb.Training(**SMALL), output_dir=tmp_path / "run",
        allow_weak_teacher=True,
    )  # fmt: skip
    assert run.student.config["num_hidden_layers"] == 2


def test_wrong_pruning_is_refused_before_scores_are_computed(folder, data, tmp_path):
    for wrong, said in ({"keep_heads": 99}, "--keep_heads 99 exceeds"), ({"keep_head": 1}, "did you mean --keep_heads"):
        with pytest.raises(tb.UserError, match=said):
            tb.prune(folder / "teacher", data=data, output_dir=tmp_path / "cut", **wrong)
        assert not (tmp_path / "cut").exists()


def test_pruning_again_uses_finished_scores_and_overwrites_on_request(folder, data, tmp_path):
    short = tb.Training(max_seq_length=16, max_steps=1, device="cpu")

    def prune(**options) -> tuple[int, tb.Model]:
        pruned = tb.prune(folder / "teacher", data=data, training=short, output_dir=tmp_path, keep_heads=1, **options)
        return (tmp_path / "importance" / "importance_score" / "taylor.json").stat().st_mtime_ns, pruned

    computed, _ = prune()
    with pytest.raises(tb.UserError, match="is not empty"):
        prune(num_layers=1)
    shutil.rmtree(tmp_path / "model")
    assert prune()[0] == computed
    again, pruned = prune(num_layers=1, overwrite=True)
    assert again > computed and pruned.config["num_hidden_layers"] == 1


def test_augmented_rows_are_trained_on(folder, tmp_path):
    random = np.random.default_rng(0)
    words = [f"w{letter}" for letter in "abcdefghij"]
    tiny.masked_lm_folder(tmp_path / "mlm", [*tiny.SPECIAL, *words])
    (tmp_path / "mlm" / "manifest.json").unlink(missing_ok=True)  # its head was added by hand
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("".join(f"{word} {' '.join(f'{x:.3f}' for x in random.standard_normal(4))}\n" for word in words))
    rows = [(" ".join(random.choice(words, 4)), "yes" if i % 2 else "no") for i in range(12)]
    data = tb.from_rows(rows, rows)
    more = tb.augment(data, tmp_path / "mlm", word_vectors=vectors, output_dir=tmp_path / "augmented", N=2, device="cpu")
    tiny.model_folder(tmp_path / "model", labels=("no", "yes"))
    run = tb.finetune(tmp_path / "model", more, training=tb.Training(**SMALL), output_dir=tmp_path / "run")
    assert run.record["finetune"]["data"]["train_aug"]["rows"] > 12


def test_raw_text_makes_a_general_student(folder, tmp_path):
    random = np.random.default_rng(0)
    lines = [" ".join(f"word{number}" for number in random.integers(0, 35, 8)) + "\n" + ("\n" if i % 4 == 3 else "") for i in range(60)]
    (tmp_path / "text.txt").write_text("".join(lines))
    rows = tb.pregenerate(
        tmp_path / "text.txt", folder / "teacher", output_dir=tmp_path / "rows", max_seq_len=16, num_workers=1, epochs_to_generate=1
    )
    training = tb.Training(**{name: value for name, value in SMALL.items() if name != "max_seq_length"})
    sources = {"pregenerated": rows}, {"text": tmp_path / "text.txt", "max_seq_length": 16}
    for number, source in enumerate(sources):
        output = tmp_path / f"general{number}"
        run = tb.general_distill(
            folder / "teacher", tb.student(layers=1, hidden=8, heads=2), **source, training=training, output_dir=output,
            held_out_sequences=8,
        )  # fmt: skip
        assert run.stages == ("general",) and run.scores["held_out_loss"] > 0
    start = tb.finetune(run.model, tb.load_task("SST-2", folder / "SST-2"), training=tb.Training(**SMALL), output_dir=tmp_path / "task")
    assert start.model.config["hidden_size"] == 8


def test_saved_and_converted_models_predict_the_same(folder, tmp_path):
    model, texts = tb.load(folder / "teacher"), ["word1 word2", "word20"]
    expected = [found.probabilities for found in model.predict(texts)]
    copies = [model.save(tmp_path / "copy"), tb.load(model.convert(tmp_path / "hf", to="huggingface"))]
    for copy in copies:
        assert [found.probabilities for found in copy.predict(texts)] == [pytest.approx(row, abs=1e-6) for row in expected]
    with pytest.raises(tb.UserError, match="exists\nchoose a new folder"):
        model.save(tmp_path / "copy")
    with pytest.raises(tb.UserError, match="expected a list of texts"):
        model.predict("word1")


def test_labels_given_to_load_name_the_outputs_of_a_folder(folder, data, tmp_path):
    plain, texts = tb.load(folder / "teacher"), ["word1 word2", "word20"]
    named = tb.load(folder / "teacher", labels=["bad", "good"])
    assert named.labels == ("bad", "good") and plain.labels == ("0", "1")
    assert [[*found.probabilities.values()] for found in named.predict(texts)] == [
        [*found.probabilities.values()] for found in plain.predict(texts)
    ]
    assert named.predict(texts)[0].label in ("bad", "good")
    assert tb.load(plain, labels=["bad", "good"]).path == named.path
    assert tb.load(named, labels=["0", "1"]).evaluate(data) == plain.evaluate(data)
    assert tb.load(plain, labels=["0", "1"]).path == plain.path
    for wrong in ["a", "b", "c"], ["a", "a"]:
        with pytest.raises(tb.UserError, match="expected 2 different names"):
            tb.load(folder / "teacher", labels=wrong)
    tiny.model_folder(tmp_path / "score", labels=())
    with pytest.raises(tb.UserError, match="leave out labels"):
        tb.load(tmp_path / "score", labels=["score"])


def test_exported_model_predicts_the_same(folder, data, same_process, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    pytest.importorskip("paddle2onnx", reason="the extra `export` is not installed")
    model, texts = tb.load(folder / "teacher"), ["word1 word2", "word20"]
    (tmp_path / "served").mkdir()  # as by tempfile.mkdtemp
    served = model.export(tmp_path / "served", format="onnx", data=data, max_seq_length=16)
    assert [found.probabilities for found in served.predict(texts)] == [
        pytest.approx(found.probabilities, abs=1e-5) for found in model.predict(texts)
    ]
    options = {"format": "onnx", "precision": ["float32", "int8"], "max_drop": 100}
    assert model.export(tmp_path / "both", data=data, max_seq_length=16, **options) is model
    assert tb.load(tmp_path / "both" / "onnx-int8").labels == model.labels
