"""The NumPy forward pass agrees with PyTorch and with our encoders, and detects a wrongly read model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import WORDS, arrays_of, classifier, model_folder
from tests.unit.models.hugging_face import hugging_face_arrays, write_folder
from tinybert.errors import UserError
from tinybert.models.exporting import check_reading
from tinybert.models.independent_forward import independent_outputs
from tinybert.models.loading import load_pretrained

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize(("name", "logits"), [("bert", "logits"), ("ernie", "logits"), ("tinybert", "logits_after_relu")])
def test_numpy_forward_matches_pytorch(name, logits):
    stored = np.load(FIXTURES / name / "outputs.npz")
    batch = [stored["ids"], stored["segments"], stored["mask"]]
    np.testing.assert_allclose(independent_outputs(FIXTURES / name, 1e-12, *batch, "logits"), stored[logits], atol=2e-6)
    np.testing.assert_allclose(independent_outputs(FIXTURES / name, 1e-12, *batch, "pooled output"), stored["pooled"], atol=2e-6)


@pytest.mark.parametrize("model_type", ["bert", "tinybert", "ernie", "roberta"])
@pytest.mark.parametrize("output", ["logits", "hidden states"])
def test_every_family_is_read_as_its_files_say(tmp_path, model_type, output):
    model_folder(tmp_path / "paddle", model_type, max_position_embeddings=40)
    model = classifier(model_type, max_position_embeddings=40)
    config = load_pretrained(str(tmp_path / "paddle"))[1]
    write_folder(tmp_path / "torch", hugging_face_arrays(arrays_of(model), "roberta" if model_type == "roberta" else "bert"), config, WORDS)
    for folder in ("paddle", "torch"):
        loaded, _ = load_pretrained(str(tmp_path / folder))
        assert check_reading(loaded, tmp_path / folder, output).startswith("verified: largest difference")


def test_wrongly_read_model_is_detected(tmp_path):
    model_folder(tmp_path / "m")
    loaded, _ = load_pretrained(str(tmp_path / "m"))
    query = loaded.model.bert.encoder.layers[1].self_attn.q_proj.weight
    query.set_value(query.numpy().T.copy())  # square, so the shape does not reveal it
    with pytest.raises(UserError, match="differ by .* from an independent forward pass"):
        check_reading(loaded, tmp_path / "m", "logits")


def test_network_without_a_numpy_forward_is_reported(tmp_path):
    model_folder(tmp_path / "m", num_attention_heads=3, attention_head_size=4)
    loaded, _ = load_pretrained(str(tmp_path / "m"))
    assert check_reading(loaded, tmp_path / "m", "logits").startswith("note: there is no independent forward pass")
