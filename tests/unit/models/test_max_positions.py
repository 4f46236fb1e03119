"""How long a row a model can read, for every way of asking."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import SHAPE, loaded, model_folder
from tinybert.models.configuration import read_config
from tinybert.models.limits import max_positions, positions_in
from tinybert.models.masked_lm import MaskedLM
from tinybert.models.model_info import read_model_info

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("model_type", "positions"), [("bert", 20), ("tinybert", 20), ("ernie", 20), ("roberta", 19)])
def test_every_way_of_asking_gives_the_same_max_positions(tmp_path, model_type, positions):
    model_folder(tmp_path / "model", model_type)
    known = loaded(model_type)
    found = [
        max_positions(known),
        max_positions(read_model_info(str(tmp_path / "model"), None, "model")),
        positions_in(read_config(tmp_path / "model")),
        MaskedLM(known, {}, "").positions,
    ]
    assert found == [positions] * 4


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({**SHAPE, "architectures": ["RobertaForMaskedLM"], "pad_token_id": 1}, 18),
        ({**SHAPE, "model_type": "roberta", "pad_token_id": None}, 19),
        ({**SHAPE, "model_type": "electra"}, 20),
        ({"max_position_embeddings": 20}, 20),
        ({"max_position_embeddings": "20"}, None),
        ({}, None),
    ],
)
def test_incomplete_config_gives_positions_or_none(config, positions):
    assert positions_in(config) == positions


def test_pregeneration_does_not_import_paddle():
    code = "import sys, tinybert.recipes.pregenerate; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
