#!/usr/bin/env bash
# PaddleNLP: DistilBertConfig reads the sizes in a config.json of Hugging Face (dim, n_layers, n_heads, hidden_dim), but ignores its activation and
# attention_dropout, and takes its dropout, that of every layer, for the dropout before the classifier. No warning is given: a DistilBERT with
# "activation": "relu" computes with gelu. The constructor ignores the sizes, too: DistilBertConfig(dim=16).hidden_size is 768.
# One would have guessed: a class that reads a format's file follows all of its keys, or says which it does not know.
# Source: paddlenlp/transformers/distilbert/configuration.py: attribute_map has the four sizes and "dropout": "classifier_dropout", and the
# constructor sets its own defaults after the mapped values. Seen with paddlenlp 3.0.0b4.
bash "$(dirname "$0")/with_packages" paddlenlp==3.0.0b4 paddlepaddle==3.3.1 numpy==1.26.4 aistudio-sdk==0.2.6 datasets==2.21.0 pyarrow==16.1.0 \
    setuptools <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

from paddlenlp.transformers import DistilBertConfig

print("paddlenlp", version("paddlenlp"))
published = {
    "model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "activation": "relu", "dropout": 0.2,
    "attention_dropout": 0.3, "vocab_size": 40, "max_position_embeddings": 20,
}
Path("config.json").write_text(json.dumps(published))
names = ("hidden_size", "num_hidden_layers", "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
read = DistilBertConfig.from_pretrained(".")
found = [getattr(read, name) for name in names]
print("read from the file:", dict(zip(names, found)))
made = DistilBertConfig(dim=16)
print("DistilBertConfig(dim=16).hidden_size:", made.hidden_size)
raise SystemExit(0 if found == [16, 2, "gelu", 0.1, 0.1, 0.2] and made.hidden_size == 768 else 1)
PYTHON
