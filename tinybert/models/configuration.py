"""The small files of a model folder: its configuration, under whichever of three names, and which tokenizer it has."""

from __future__ import annotations

import json
from pathlib import Path

from tinybert.errors import UserError

# Hugging Face and PaddleNLP from 2.5 on; Google's and Huawei's BERT; PaddleNLP before 2.5
FILES = ("config.json", "bert_config.json", "model_config.json")

# what a configuration file says about the network itself; all else (dtypes, versions, generation) is left behind
ARCHITECTURE_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "task_type_vocab_size",
    "use_task_id",
    "task_id",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "cls_token_id",
    "pool_act",
    "fit_size",
    "classifier_dropout",
)


def config_file(folder: Path) -> Path | None:
    """The configuration file of a folder, None if it has none."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def read_config(folder: Path) -> dict:
    """Read a folder's configuration; the nested `init_args` of older PaddleNLP folders come back flat.

    Raises:
        UserError: no configuration file, or not a JSON object.
    """
    path = config_file(folder)
    if path is None:
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"
        raise UserError(f"{folder} is no model folder: config.json is missing (found: {found}).")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds a {type(config).__name__}; expected a JSON object.")
    return _flat(config)


def _flat(config: dict) -> dict:
    """`{"init_args": [{"vocab_size": ..., "init_class": "BertModel"}], "init_class": "BertFor..."}` in one level; the outer value wins."""
    inner: dict = {}
    for part in config.get("init_args") or ():  # the encoder stands first; bare numbers after it are arguments such as num_classes
        if isinstance(part, dict):
            inner = {**inner, **_flat(part)}
    return {**inner, **{key: value for key, value in config.items() if key != "init_args"}}


def labels_of(config: dict) -> tuple[str, ...] | None:
    """The label names in a configuration, in the order of the classifier's outputs; None where they are absent or LABEL_<i>."""
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        return None
    try:
        ordered = tuple(str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0])))
    except ValueError:
        return None
    return None if all(name.startswith("LABEL_") for name in ordered) else ordered


def check_tokenizer(folder: Path, role: str) -> None:
    """Refuse a folder whose tokenizer is known not to be BERT's.

    Raises:
        UserError: byte-level BPE, SentencePiece, or a vocabulary that stands in tokenizer.json alone.
    """
    if (folder / "vocab.txt").is_file():
        return
    if (folder / "merges.txt").is_file() or (folder / "sentencepiece.bpe.model").is_file() or (folder / "spiece.model").is_file():
        raise UserError(
            f"the {role} {folder} has a tokenizer of another kind (byte-level BPE as in RoBERTa's vocab.json and merges.txt, or "
            "SentencePiece).\nOnly BERT's word pieces (vocab.txt) can be read: BERT, TinyBERT, ERNIE, MacBERT, Chinese RoBERTa-wwm."
        )
    if (folder / "tokenizer.json").is_file():
        raise UserError(
            f"the {role} {folder} has tokenizer.json, but no vocab.txt.\nIf the model is a BERT, write its word pieces one per line, in "
            "the order of their ids (model.vocab in tokenizer.json), into vocab.txt."
        )
