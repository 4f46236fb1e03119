"""The encoder classes of PaddleNLP that this project reads, trains and writes."""

from __future__ import annotations

import functools
from dataclasses import dataclass

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
    name = _ALIASES.get(model_type.lower(), model_type.lower())
    if name not in _CLASSES:
        raise UserError(
            f"model type '{model_type}' is not supported.\nExpected one of {', '.join(MODEL_TYPES)} (BERT-like encoders; MacBERT and "
            "Chinese RoBERTa-wwm are of type bert)."
        )
    module, config, encoder, classifier, tokenizer = _CLASSES[name]
    import importlib

    import paddlenlp.utils.log  # its logger prints each file that PaddleNLP touches

    paddlenlp.utils.log.logger.set_level("ERROR")
    configuration = importlib.import_module(f"paddlenlp.transformers.{module}.configuration")
    modeling = importlib.import_module(f"paddlenlp.transformers.{module}.modeling")
    return Family(name, getattr(configuration, config), getattr(modeling, encoder), getattr(modeling, classifier), tokenizer)


def family_of_config(config: dict, source: str) -> Family:
    """The family that a configuration file describes: by model_type, else by its architecture, else by TinyBERT's own keys."""
    if config.get("model_type"):
        return family(config["model_type"])
    for architecture in [*config.get("architectures", []), config.get("init_class", "")]:
        for name, (_, _, encoder, _, _) in sorted(_CLASSES.items(), key=lambda item: -len(item[1][2])):
            if str(architecture).lower().startswith(encoder.lower().removesuffix("model")):
                return family(name)
    if "hidden_size" in config and "num_hidden_layers" in config:
        return family("bert")
    raise UserError(f"{source} does not describe a BERT-like encoder: it has no model_type, hidden_size or num_hidden_layers.")
