"""The encoder classes of PaddleNLP that this project reads, trains and writes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tinybert import runtime
from tinybert.errors import UserError


@dataclass(frozen=True)
class Family:
    """One kind of encoder: its configuration, its classifier and the name PaddleNLP's tokenizer goes by."""

    model_type: str
    config: type
    encoder: type
    classifier: type
    tokenizer: str

    @property
    def base(self) -> str:
        """The attribute under which a model with a head keeps its encoder."""
        return self.classifier.base_model_prefix


_CLASSES = {
    "bert": ("bert", "BertConfig", "BertModel", "BertForSequenceClassification", "BertTokenizer"),
    "tinybert": (
        "tinybert",
        "TinyBertConfig",
        "TinyBertModel",
        "TinyBertForSequenceClassification",
        "TinyBertTokenizer",
    ),
    "ernie": ("ernie", "ErnieConfig", "ErnieModel", "ErnieForSequenceClassification", "ErnieTokenizer"),
    "roberta": ("roberta", "RobertaConfig", "RobertaModel", "RobertaForSequenceClassification", "RobertaTokenizer"),
}
# names that people and configuration files use for the same classes
_ALIASES = {"macbert": "bert", "tiny_bert": "tinybert", "chinese-roberta": "bert"}
MODEL_TYPES = tuple(_CLASSES)


@functools.cache
def family(model_type: str) -> Family:
    """The classes of a model type.

    Raises:
        UserError: a type that is not among `MODEL_TYPES`.
    """
    name = _known(model_type)
    module, config, encoder, classifier, tokenizer = _CLASSES[name]
    runtime.paddlenlp("utils.log").logger.set_level("ERROR")  # it prints each file that PaddleNLP touches
    configuration = runtime.paddlenlp(f"transformers.{module}.configuration")
    modeling = runtime.paddlenlp(f"transformers.{module}.modeling")
    return Family(name, getattr(configuration, config), getattr(modeling, encoder), getattr(modeling, classifier), tokenizer)


def _known(model_type: str) -> str:
    name = _ALIASES.get(model_type.lower(), model_type.lower())
    if name not in _CLASSES:
        raise UserError(
            f"model type '{model_type}' is not supported.\nExpected one of {', '.join(MODEL_TYPES)} (BERT-like encoders; MacBERT and "
            "Chinese RoBERTa-wwm are of type bert)."
        )
    return name


def model_type_of(config: dict, source: str) -> str:
    """The model type that a configuration file describes; imports no Paddle.

    Raises:
        UserError: none among `MODEL_TYPES`.
    """
    return _stated(config, source)[0]


def family_of_config(config: dict, source: str) -> Family:
    """The family that a configuration file describes: by model_type, else by its architecture, else BERT by its keys."""
    return family(_stated(config, source)[0])


def family_of_folder(config: dict, weights: Iterable[str], source: str) -> tuple[Family, str]:
    """The family of a model and the reason, by its configuration and the names of its weights.

    Huawei's TinyBERT is published as a BERT. It is one with a ReLU before the classifier, and is told apart by its projections, which
    no BERT class has, by an architecture of that name, or by `classifier_activation`, which our own Hugging Face folders carry.
    """
    stated, reason = _stated(config, source)
    kind = family(stated)
    if stated != "bert":
        return kind, reason
    projection = next((name for name in sorted(weights) if _PROJECTION.search(name)), None)
    architecture = next((name for name in _architectures(config) if "tinybert" in name.lower()), None)
    if projection is not None:
        return family("tinybert"), f"its file has {projection}, which BERT has not"
    if architecture is not None:
        return family("tinybert"), f"its configuration names {architecture}"
    if config.get("classifier_activation") == "relu":
        return family("tinybert"), "its configuration has classifier_activation relu"
    return kind, reason


_PROJECTION = re.compile(r"(^|\.)(share_)?fit_denses?\.")


def _architectures(config: dict) -> list[str]:
    names = config.get("architectures")
    return [str(name) for name in [*(names if isinstance(names, list) else []), config.get("init_class") or ""]]


def _stated(config: dict, source: str) -> tuple[str, str]:
    if config.get("model_type"):
        return _known(str(config["model_type"])), f"model_type is {config['model_type']}"
    for architecture in _architectures(config):
        for name, (_, _, encoder, _, _) in _CLASSES.items():
            # BertModel, BertForMaskedLM, BertLMHeadModel; but ErnieGramModel is no ERNIE
            if re.match(encoder.removesuffix("Model") + r"(Model|For|LM|PreTrain|Pretrain)", architecture, re.IGNORECASE):
                return name, f"its configuration names {architecture}"
    if "hidden_size" in config and "num_hidden_layers" in config:
        return "bert", "its configuration has no model_type and the keys of a BERT"
    raise UserError(f"{source} does not describe a BERT-like encoder: it has no model_type, hidden_size or num_hidden_layers.")
