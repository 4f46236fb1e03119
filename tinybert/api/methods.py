"""Methods of distillation as objects: a name of `--method`, and the options that belong to it."""

from __future__ import annotations

from tinybert.api.options import ChosenOptions

_NOT_OF_A_METHOD = ("models", "data", "optimisation", "run")


class Method(ChosenOptions):
    """A method of task distillation with its options, checked when it is made.

    name: as `--method` has it. options: those of the command line about losses, conventions, stored traces and gradual pruning.

    Raises:
        UserError: an unknown option, a wrong value, or one that belongs to another method; in the words of the command line.
    """

    name: str = ""
    stage: str | None = None  # what is trained unless a run says it

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
    """Marginal utility of hidden states: a chosen part of them first, then logits.

    Options, among others: `token_scheme`, `keep_tokens`, `hidden_scheme`, `keep_hidden`, `layer_scheme`, `keep_layers`.
    """

    name, stage = "mud", "both"


class EMD(Method):
    """BERT-EMD: all layers at once, matched by optimal transport. Options, among others: `beta`, `theta`, `T_emd`, `emd_rule`."""

    name = "emd"


class Logits(Method):
    """The teacher's logits alone. Options: `T`, `alpha`, `soft_ce_reduction`, `temperature_square`."""

    name = "logits"


class GoldLabels(Method):
    """No teacher: the labels alone, to compare with."""

    name = "none"
