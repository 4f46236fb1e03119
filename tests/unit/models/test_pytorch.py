"""The same numbers in PyTorch, where torch and transformers are installed (they are no dependency of this project)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import batch, logits_of, model_folder
from tests.unit.models.test_exporting import convert
from tinybert.models.loading import load_pretrained
from tinybert.models.torch_zip import read_torch

torch = pytest.importorskip("torch", reason="PyTorch, no dependency, is not installed")
transformers = pytest.importorskip("transformers", reason="transformers, no dependency, is not installed")
TYPES = ("bert", "tinybert", "ernie", "roberta")


def in_torch(model, inputs, relu: bool) -> np.ndarray:
    """The logits of a Hugging Face classifier, optionally with TinyBERT's ReLU."""
    given = {
        "input_ids": torch.tensor(inputs.input_ids.numpy()),
        "token_type_ids": torch.tensor(inputs.token_type_ids.numpy()),
        "attention_mask": torch.tensor(inputs.attention_mask.numpy()),
    }
    model.eval()
    with torch.no_grad():
        if relu:
            return model.classifier(torch.relu(model.bert(**given).pooler_output)).numpy()
        return model(**given).logits.numpy()


def shape(model_type: str) -> dict:
    return {"layer_norm_eps": 1e-5} if model_type in ("ernie", "roberta") else {}


@pytest.mark.parametrize("model_type", TYPES)
def test_converted_model_gives_the_same_logits_in_pytorch(tmp_path, model_type):
    model = model_folder(tmp_path / "a", model_type, ("a", "b", "c"), **shape(model_type))
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 0
    theirs, info = transformers.AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "b"), output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}
    difference = np.abs(in_torch(theirs, batch(), model_type == "tinybert") - logits_of(model, batch())).max()
    print(f"{model_type}: largest difference of logits {difference:.2e}")
    assert difference < 2e-6


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("model_type", ["bert", "ernie"])
def test_pytorch_model_gives_the_same_logits_here(tmp_path, model_type, zipped):
    model_folder(tmp_path / "a", model_type, **shape(model_type))
    assert convert(tmp_path / "a", tmp_path / "b", "huggingface") == 0
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "b"))
    (tmp_path / "b" / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "b" / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    for name, array in read_torch(tmp_path / "b" / "pytorch_model.bin").items():
        np.testing.assert_array_equal(array, theirs.state_dict()[name].numpy(), err_msg=name)
    ours, _ = load_pretrained(str(tmp_path / "b"))
    assert np.abs(in_torch(theirs, batch(), False) - logits_of(ours.model, batch())).max() < 2e-6
