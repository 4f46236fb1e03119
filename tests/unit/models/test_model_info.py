"""Model information read without the weights agrees with the loaded model."""

from __future__ import annotations

import json

import pytest
from safetensors.numpy import save_file

from tests import tiny
from tinybert.errors import UserError
from tinybert.models.loading import load_classifier
from tinybert.models.model_info import read_model_info
from tinybert.models.projections import Projection
from tinybert.models.weights import read_pdparams


@pytest.mark.parametrize("file", ["model_state.pdparams", "model.safetensors"])
@pytest.mark.parametrize("sign", ["a projection", "an architecture", "an activation", "none"])
def test_family_is_the_same_before_and_after_reading_weights(tmp_path, file, sign):
    projection = Projection("shared", 2, 16, 24) if sign == "a projection" else None
    tiny.model_folder(tmp_path, "tinybert", num_hidden_layers=2, projection=projection)
    config = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "bert", "architectures": []}
    config |= {"an architecture": {"architectures": ["TinyBertModel"]}, "an activation": {"classifier_activation": "relu"}}.get(sign, {})
    (tmp_path / "config.json").write_text(json.dumps(config))
    if file == "model.safetensors":
        save_file(read_pdparams(tmp_path / "model_state.pdparams"), tmp_path / file)
        (tmp_path / "model_state.pdparams").unlink()
        (tmp_path / "manifest.json").unlink()
    known, loaded = read_model_info(str(tmp_path), None, "teacher"), load_classifier(str(tmp_path), labels=tiny.LABELS, needs_head=True)
    assert known.family is loaded.family and known.family.model_type == ("bert" if sign == "none" else "tinybert")


def test_damaged_weights_are_refused_with_a_message(tmp_path):
    tiny.model_folder(tmp_path)
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(path.read_bytes()[:-200])
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UserError, match="it is truncated or not a .pdparams file"):
        read_model_info(str(tmp_path), None, "teacher")
