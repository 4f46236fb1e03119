"""ERNIE 3.0 and MacBERT from their folders to predictions: task ids, layer-norm epsilon, both layouts, vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.recipes.conftest import QUICK, distill
from tests.tiny import SPECIAL, arrays_of, classifier, word_pieces
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.models.families import family
from tinybert.models.loading import load_pretrained
from tinybert.models.saving import save_model
from tinybert.models.trace import layers_of

CHARACTERS = list("酒店饭馆很好便宜房间电视的是吗")
PIECES = [*SPECIAL, *CHARACTERS, "##s", "good"]
# entries besides the shape in config.json of ernie-3.0-*-zh and hfl/chinese-macbert-*
ERNIE = {"use_task_id": True, "task_type_vocab_size": 3, "task_id": 0, "layer_norm_eps": 1e-5, "type_vocab_size": 4}
MACBERT = {"layer_norm_eps": 1e-12, "type_vocab_size": 2}
MODELS = {"ernie": ("ernie", ERNIE), "macbert": ("bert", MACBERT)}


def folder_of(root: Path, name: str, layout: str, seed: int, layers: int) -> Path:
    """A classifier with random weights in PaddleNLP's or Hugging Face's format."""
    kind, more = MODELS[name]
    model = classifier(kind, seed=seed, vocab_size=len(PIECES), num_hidden_layers=layers, max_position_embeddings=32, **more)
    folder = root / f"{name}-{layers}"
    save_model(folder, model, family(kind), word_pieces(PIECES), ("0", "1"))
    if layout == "hugging_face":
        config = json.loads((folder / "config.json").read_text())
        arrays = hugging_face_arrays(arrays_of(model), kind)
        for path in folder.iterdir():
            path.unlink()
        write_folder(folder, arrays, config, PIECES)
    return folder


@pytest.fixture
def rows(tmp_path) -> Path:
    """A small AFQMC."""
    folder = tmp_path / "rows"
    folder.mkdir()
    pairs = [{"sentence1": f"酒店{'很好' if i % 2 else '便宜'}", "sentence2": "房间的电视很好吗", "label": str(i % 2)} for i in range(24)]
    for split in ("train", "dev", "test"):
        lines = [{"id": i, **row} if split == "test" else row for i, row in enumerate(pairs)]
        (folder / f"{split}.json").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("layout", ["paddlenlp", "hugging_face"])
@pytest.mark.parametrize("name", MODELS)
def test_chinese_models_distil_and_predict_from_either_layout(tmp_path, rows, name, layout):
    teacher, student = (folder_of(tmp_path, name, layout, seed, layers) for seed, layers in ((1, 3), (2, 2)))
    kind, more = MODELS[name]
    for folder in (teacher, student):
        loaded, _ = load_pretrained(str(folder))
        assert loaded.family.model_type == kind and not loaded.report.fresh and not loaded.report.unused
        assert {layer.norm1._epsilon for layer in layers_of(loaded.model)} == {more["layer_norm_eps"]}
    distill(
        "--task_name", "AFQMC", "--data_dir", rows, "--teacher_path", teacher, "--student_model", student, "--stage", "both",
        "--layer_map", "0:0,1:2,2:3", "--max_seq_length", 20, "--max_steps", 3, "--allow_weak_teacher", "--do_train", "--do_eval",
        "--do_predict", "--output_dir", tmp_path / "run", *QUICK,
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run/afqmc_predict.json").read_text().splitlines()]
    assert [line["id"] for line in lines] == list(range(24)) and {line["label"] for line in lines} <= {"0", "1"}
    best = tmp_path / "run/best_model"
    assert (best / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1] == PIECES
    written = json.loads((best / "config.json").read_text())
    assert {key: written.get(key) for key in more} == more and written["num_hidden_layers"] == 2
    ours, _ = load_pretrained(str(best))
    theirs = family(kind).head_class().from_pretrained(str(best))
    theirs.eval(), ours.model.eval()
    ids = paddle.to_tensor([[2, *ours.tokenizer.ids(["酒店很好"])[0], 3]])
    with paddle.no_grad():
        difference = np.abs(theirs(ids).numpy() - ours.model(ids).numpy()).max()
    assert difference < (1e-3 if name == "ernie" else 1e-5)  # PaddleNLP 3.0.0b4: ErnieModel always uses epsilon 1e-12


def test_task_id_of_ernie_changes_its_outputs(tmp_path):
    folder = folder_of(tmp_path, "ernie", "hugging_face", 1, 2)
    plain, _ = load_pretrained(str(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "task_id": 2}))
    other, _ = load_pretrained(str(folder))
    ids = paddle.to_tensor([[2, 5, 6, 3]])
    with paddle.no_grad():
        assert np.abs(plain.model(ids).numpy() - other.model(ids).numpy()).max() > 1e-3
