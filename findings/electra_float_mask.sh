#!/usr/bin/env bash
# PaddleNLP: an attention mask of the floats 0.0 and 1.0, as tokenizers and data collators of other libraries make it, hides nothing in ELECTRA: it
# is added to the scores. The same mask works in BERT, ERNIE, RoBERTa and DistilBERT, and as int64 or bool also in ELECTRA. No warning is given.
# One would have guessed: all encoders of a library read a mask of one form in the same way.
# Source: paddlenlp/transformers/electra/modeling.py: ElectraModel.forward only adds two dimensions to a mask of two, where BertModel.forward also
# computes (1.0 - attention_mask) * -1e4; paddle.nn.TransformerEncoder adds a float mask as it is. Seen with paddlenlp 3.0.0b4.
bash "$(dirname "$0")/with_packages" paddlenlp==3.0.0b4 paddlepaddle==3.3.1 numpy==1.26.4 aistudio-sdk==0.2.6 datasets==2.21.0 pyarrow==16.1.0 \
    setuptools <<'PYTHON'
from importlib.metadata import version

import paddle
from paddlenlp.transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel, ElectraConfig, ElectraModel

print("paddlenlp", version("paddlenlp"))
shape = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 20, "initializer_range": 0.5,
}
ids = paddle.to_tensor([[2, 7, 9, 3, 5, 6]])
mask = paddle.to_tensor([[1, 1, 1, 1, 0, 0]])
found = {}
for name, model in (
    ("BERT", BertModel(BertConfig(**shape))),
    ("DistilBERT", DistilBertModel(DistilBertConfig(**shape))),
    ("ELECTRA", ElectraModel(ElectraConfig(**shape, embedding_size=16))),
):
    model.eval()
    short = model(ids[:, :4])
    short = short[0] if isinstance(short, tuple) else short
    for kind in ("int64", "bool", "float32"):
        states = model(ids, attention_mask=mask.astype(kind))
        states = states[0] if isinstance(states, tuple) else states
        difference = float((states[:, :4] - short).abs().max())
        found[name, kind] = difference < 1e-4
        print(f"{name}, {kind}: largest difference from the row without its last two tokens: {difference:.1e}")
expected = {pair: pair != ("ELECTRA", "float32") for pair in found}
raise SystemExit(0 if found == expected else 1)
PYTHON
