"""The supported encoder families: one entry each; no other module depends on a family's name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tinybert import runtime
from tinybert.errors import UserError

HEADS = {
    "sequence": "ForSequenceClassification",
    "token": "ForTokenClassification",
    "span": "ForQuestionAnswering",
}  # suffixes of PaddleNLP's class names


@dataclass(frozen=True)
class Family:
    """One kind of encoder.

    model_type: its name in config.json and on the command line; `aliases` are other names of the same classes.
    stem: the prefix of PaddleNLP's class names (`BertModel`, `BertConfig`, ...). base: the attribute of the encoder in a model with a
    head, which is also the prefix of its weights and the name of PaddleNLP's module.
    relu_head: whether there is a ReLU between pooled output and classifier. keeps_projections: whether folders can contain the
    distillation projections. published_as: Hugging Face's model_type, if it is that of another family. positions_follow_padding: whether
    positions are counted from the padding id. defaults: values of missing keys, if no checkpoint uses the class's own defaults.
    over_tokens: the family whose classes provide its token-level heads, if PaddleNLP has none for it.
    is_plain_bert: whether its encoder is BERT's, with embeddings of words, positions and token types.
    relative: whether scores have a bias by distance, without token types.
    pools_by_config: whether pool_act decides if its pooler has a tanh.
    projects_embeddings: whether embeddings can have another width, embedding_size, followed by a linear layer.
    published_keys: Hugging Face's names of keys of config.json, and ours.
    """

    model_type: str
    stem: str
    base: str
    aliases: tuple[str, ...] = ()
    relu_head: bool = False
    keeps_projections: bool = False
    published_as: str | None = None
    positions_follow_padding: bool = False
    defaults: dict[str, object] = field(default_factory=dict, hash=False)
    over_tokens: str | None = None
    is_plain_bert: bool = True
    relative: bool = False
    pools_by_config: bool = False
    projects_embeddings: bool = False
    published_keys: dict[str, str] = field(default_factory=dict, hash=False)

    @functools.cached_property
    def config(self) -> type:
        """PaddleNLP's configuration class."""
        return getattr(_module(self.base, "configuration"), f"{self.stem}Config")

    @functools.cached_property
    def encoder(self) -> type:
        """PaddleNLP's encoder without a head."""
        return getattr(_module(self.base, "modeling"), f"{self.stem}Model")

    def head_class(self, head: str = "sequence") -> type:
        """PaddleNLP's encoder with a head, one of `HEADS`."""
        return getattr(_module(self.base, "modeling"), f"{self.stem}{HEADS[head]}")

    def for_head(self, head: str) -> Family:
        """The family for a model with this head: without its head, a TinyBERT is a BERT."""
        return _ROWS[self.over_tokens] if head != "sequence" and self.over_tokens else self

    @property
    def tokenizer(self) -> str:
        """The name of PaddleNLP's tokenizer class."""
        return f"{self.stem}Tokenizer"

    @property
    def hugging_face_type(self) -> str:
        """The model_type in Hugging Face's format."""
        return self.published_as or self.model_type

    @property
    def hugging_face_stem(self) -> str:
        """The prefix of Hugging Face's class names."""
        return _ROWS[self.hugging_face_type].stem

    def max_positions(self, rows: int, padding: object) -> int:
        """The maximum sequence length for a table of `rows` position embeddings."""
        return rows - (padding if isinstance(padding, int) else 0) - 1 if self.positions_follow_padding else rows


_ROWS = {
    row.model_type: row
    for row in (
        Family("bert", "Bert", "bert", aliases=("macbert", "chinese-roberta"), pools_by_config=True),
        Family(
            "tinybert",
            "TinyBert",
            "tinybert",
            aliases=("tiny_bert",),
            relu_head=True,
            keeps_projections=True,
            published_as="bert",
            over_tokens="bert",
            pools_by_config=True,
            defaults={"type_vocab_size": 2},  # the class's own default is 16, which no checkpoint uses
        ),
        Family("ernie", "Ernie", "ernie"),
        Family("roberta", "Roberta", "roberta", positions_follow_padding=True),
        Family(
            "mpnet",
            "MPNet",
            "mpnet",
            positions_follow_padding=True,
            is_plain_bert=False,
            relative=True,
            defaults={"relative_attention_num_buckets": 32, "pad_token_id": 1, "layer_norm_eps": 1e-5},
        ),
        Family("electra", "Electra", "electra", is_plain_bert=False, projects_embeddings=True),
        Family(
            "distilbert",
            "DistilBert",
            "distilbert",
            is_plain_bert=False,
            published_keys={
                "dim": "hidden_size",
                "n_layers": "num_hidden_layers",
                "n_heads": "num_attention_heads",
                "hidden_dim": "intermediate_size",
                "activation": "hidden_act",
                "dropout": "hidden_dropout_prob",
                "attention_dropout": "attention_probs_dropout_prob",
                "seq_classif_dropout": "classifier_dropout",
            },
        ),
    )
}
_BY_ALIAS = {alias: row for row in _ROWS.values() for alias in row.aliases}
_BY_BASE = {row.base: row for row in _ROWS.values()}
MODEL_TYPES = tuple(_ROWS)
BASES = tuple(_BY_BASE)
STUDENT = "tinybert"  # the default family of a new student


def _module(name: str, part: str):
    runtime.paddlenlp("utils.log").logger.set_level("ERROR")  # it logs each file that PaddleNLP reads
    return runtime.paddlenlp(f"transformers.{name}.{part}")


def family(model_type: str) -> Family:
    """The entry of a model type or one of its aliases; does not import Paddle.

    Raises:
        UserError: the type is not in `MODEL_TYPES`.
    """
    name = model_type.lower()
    row = _ROWS.get(name) or _BY_ALIAS.get(name)
    if row is None:
        raise UserError(
            f"model type '{model_type}' is not supported.\nExpected one of {', '.join(MODEL_TYPES)} (BERT-like encoders; MacBERT and "
            "Chinese RoBERTa-wwm are of type bert)."
        )
    return row


def family_of_model(model) -> Family:
    """The entry of a PaddleNLP model, with or without a head."""
    return _BY_BASE[model.base_model_prefix]


def head_of_model(model) -> str:
    """Which of `HEADS` a PaddleNLP model has."""
    return next((head for head, end in HEADS.items() if type(model).__name__.endswith(end)), "sequence")


def family_of_config(config: dict, source: str) -> Family:
    """The family in a configuration: by model_type, else by its architecture, else BERT by its keys. Does not import Paddle.

    Raises:
        UserError: none of `MODEL_TYPES`.
    """
    return _stated(config, source)[0]


def family_of_folder(config: dict, weights: Iterable[str], source: str) -> tuple[Family, str]:
    """The family of a model and the reason, from its configuration and the names of its weights.

    Huawei's TinyBERT is published as a BERT. It has a ReLU before the classifier, and is recognised by its projections, which no BERT
    class has, by its architecture name, or by `classifier_activation`, which our own Hugging Face folders contain.
    """
    stated, reason = _stated(config, source)
    hidden = next((row for row in _ROWS.values() if row.published_as == stated.model_type), None)
    if hidden is None:
        return stated, reason
    projection = next((name for name in sorted(weights) if _PROJECTION.search(name)), None)
    architecture = next((name for name in _architectures(config) if hidden.stem.lower() in name.lower()), None)
    if projection is not None:
        return hidden, f"its file has {projection}, which {stated.stem.upper()} does not have"
    if architecture is not None:
        return hidden, f"its config names {architecture}"
    if config.get("classifier_activation") == "relu":
        return hidden, "its config has classifier_activation relu"
    return stated, reason


_PROJECTION = re.compile(r"(^|\.)(share_)?fit_denses?\.")


def _architectures(config: dict) -> list[str]:
    names = config.get("architectures")
    return [str(name) for name in [*(names if isinstance(names, list) else []), config.get("init_class") or ""]]


def _stated(config: dict, source: str) -> tuple[Family, str]:
    if config.get("model_type"):
        return family(str(config["model_type"])), f"model_type is {config['model_type']}"
    for architecture in _architectures(config):
        for row in _ROWS.values():
            # BertModel, BertForMaskedLM, BertLMHeadModel, ElectraDiscriminator; but ErnieGramModel is not an ERNIE
            if re.match(row.stem + r"(Model|For|LM|PreTrain|Discriminator|Generator)", architecture, re.IGNORECASE):
                return row, f"its config names {architecture}"
    if "hidden_size" in config and "num_hidden_layers" in config:
        return _ROWS["bert"], "its config has no model_type and the keys of a BERT"
    raise UserError(f"{source} does not describe a BERT-like encoder: it has no model_type, hidden_size or num_hidden_layers.")
