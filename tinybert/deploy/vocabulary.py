"""Removes tokens that a task never uses from a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.loading import LoadedModel, build
from tinybert.models.saving import config_dict

_TABLE = "embeddings.word_embeddings.weight"


def with_vocabulary(loaded: LoadedModel, used: np.ndarray) -> tuple[LoadedModel, int]:
    """The same model with only the tokens `used` and the special ones, in their order; words that need other tokens become [UNK].

    Returns the model and its number of tokens.
    """
    old = loaded.tokenizer
    if not isinstance(old, WordPiece):
        raise UserError("--prune_vocabulary needs a tokenizer of BERT's WordPiece; this model has another one.\nLeave it out.")
    special = [old.pad_id, old.unk_id, old.cls_id, old.sep_id, *([] if old.mask_id is None else [old.mask_id])]
    kept = np.union1d(np.asarray(used, np.int64), special)
    tokenizer = WordPiece(
        [old.vocabulary[i] for i in kept],
        old.do_lower_case,
        old.tokenize_chinese_chars,
        old.strip_accents,
        old.special,
        old.model_max_length,
    )
    config = config_dict(loaded.model, loaded.family, loaded.output_names, loaded.head_config(loaded.output_names))
    config |= {"vocab_size": len(kept), "pad_token_id": tokenizer.pad_id}
    head = loaded.kind.head if loaded.kind else "sequence"
    model = build(loaded.family, config, int(loaded.config.num_labels), loaded.report.source, head)
    state = {name: value.numpy() for name, value in loaded.model.state_dict().items()}
    table = f"{loaded.family.base}.{_TABLE}"
    for name, parameter in model.state_dict().items():
        parameter.set_value(state[name][kept] if name == table else state[name])
    model.eval()
    return replace(loaded, model=model, tokenizer=tokenizer), len(kept)
