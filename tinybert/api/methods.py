"""Distillation methods as objects: the name of a `--method` and its options."""

from __future__ import annotations

from tinybert.api.options import ChosenOptions

_NOT_OF_A_METHOD = ("models", "data", "optimisation", "run")


class Method(ChosenOptions):
    """A method of task distillation with its options, which are checked on construction.

    name: as for `--method`. options: the command-line options about losses, conventions, teacher traces and gradual pruning.

    Raises:
        UserError: an unknown option, an invalid value, or an option of another method.
    """

    name: str = ""
    stage: str | None = None  # the default stage

    def __init__(self, name: str | None = None, /, **options: object) -> None:
        self.name = name or self.name
        super().__init__(
            options,
            lambda option: option.group not in _NOT_OF_A_METHOD,
            "give it to the run, or to Training",
            method=self.name,
            stage=self.stage,
        )


class TinyBERT(Method):
    """TinyBERT: hidden states and attention scores first, then logits.

    Options, among others: `layer_map`, `attention_weight`, `T`, `alpha`, `projection`.
    """

    name, stage = "tinybert", "both"


class MUD(Method):
    """Marginal utility of hidden states (MUD): a selected part of them first, then logits.

    Options, among others: `token_scheme`, `keep_tokens`, `hidden_scheme`, `keep_hidden`, `layer_scheme`, `keep_layers`.
    """

    name, stage = "mud", "both"


class EMD(Method):
    """BERT-EMD: all layers at once, matched by optimal transport. Options, among others: `beta`, `theta`, `T_emd`, `emd_rule`."""

    name = "emd"


class Logits(Method):
    """Only the teacher's logits. Options: `T`, `alpha`, `soft_ce_reduction`, `temperature_square`."""

    name = "logits"


class GoldLabels(Method):
    """No teacher: only the labels, as a baseline."""

    name = "none"
