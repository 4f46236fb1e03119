"""Any config.json loads or is refused with a message."""

from __future__ import annotations

import copy
import json
import random

from tests import tiny
from tinybert.errors import UserError
from tinybert.models.loading import load_classifier

ODD = [None, [], {}, "x", -1, 0, 1, 3, 7, 1.5, True, "16", [1], {"0": "a"}, {"x": "a"}, {"0": 3, "1": None}]
ODD += ["gelu_new", "relu", "", "bert", "roberta"]


def test_mutated_config_loads_or_is_refused_with_a_message(tmp_path):
    tiny.model_folder(tmp_path / "model", labels=tiny.LABELS)
    path = tmp_path / "model" / "config.json"
    original = json.loads(path.read_text())
    draw, loaded, refused = random.Random(9), 0, 0
    for _ in range(400):
        config = copy.deepcopy(original)
        for _ in range(draw.randint(1, 3)):
            name = draw.choice([*original, "init_args", "type_vocab_size", "pool_act", "classifier_dropout"])
            if draw.random() < 0.3:
                config.pop(name, None)
            else:
                config[name] = draw.choice(ODD)
        text = json.dumps(config)
        if draw.random() < 0.15:
            text = text[: draw.randrange(len(text))]
        path.write_text(text)
        try:
            load_classifier(str(tmp_path / "model"), labels=tiny.LABELS, needs_head=True)
            loaded += 1
        except UserError:
            refused += 1
    assert loaded > 20 and refused > 100
