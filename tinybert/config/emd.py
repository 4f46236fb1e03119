"""The options of `--method emd`, and which of them have no effect beside the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.method_options import refuse_for_others
from tinybert.config.options import Alias, Config, option
from tinybert.config.parts import disabled_reason, part_reasons
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig

in_emd = partial(option, group="method emd")


class EmdOptions(Config):
    """BERT-EMD: beta * (theta * (attention + hidden states) + embedding) + prediction, layers matched by transport."""

    beta: float | None = in_emd(None, help="weight of all that is not the prediction loss", unset=FROM_PRESET, at_least=0)
    theta: float | None = in_emd(None, help="weight of the two transports against the embedding loss", unset=FROM_PRESET, at_least=0)
    reduce_T: float | None = in_emd(  # noqa: N815  the published name
        None, help="divides the soft cross-entropy", unset=FROM_PRESET, above=0
    )
    emd_rule: str | None = in_emd(
        None,
        help="how costs become layer weights: their inverse (division), or the softmax of it (the script until August 2021)",
        choices=("division", "softmax"),
        unset=FROM_PRESET,
    )
    T_emd: float | None = in_emd(None, help="temperature of emd_rule softmax", unset=FROM_PRESET, at_least=0.001)
    add_softmax: bool = in_emd(True, help="with emd_rule softmax: one more softmax, which keeps every layer within a factor of e")
    seperate: bool = in_emd(
        False, help="own layer weights for attention and for hidden states", alias=(Alias("separate", "correct spelling"),)
    )
    update_weight: bool = in_emd(True, help="learn the layer weights; without it they stay uniform")
    emd_update_steps: int = in_emd(1, help="updates of the model between two updates of the layer weights", at_least=1)
    share_param: bool | None = in_emd(None, help="True is --projection shared, False --projection per_layer", unset="from --projection")
    new_pred_loss: bool = in_emd(
        True, help="False: the script's older prediction loss, half the soft cross-entropy, or the gold score of a regression"
    )


EMD_OPTIONS = tuple(name for name in EmdOptions.options())
_WEIGHTS = ("emd_rule", "T_emd", "add_softmax", "seperate", "emd_update_steps")
_TRANSPORT = (*_WEIGHTS, "update_weight", "attention_weight", "hidden_weight", "attention_reduction", "attention_heads")


def check_emd(config: TaskDistillConfig) -> None:
    """Refuse options of this method without it, its preset for another method, and two words about the projection.

    Raises:
        UserError: says which options do not go together.
    """
    refuse_for_others("emd", EMD_OPTIONS, config)
    meant = {None: None, True: "shared", False: "per_layer"}[config.share_param]
    if meant and config.projection not in (None, meant):
        raise UserError(
            f"--share_param {config.share_param} is --projection {meant}, --projection {config.projection} says otherwise\ngive one of them"
        )


def emd_reasons(values: Mapping[str, object]) -> dict[str, str]:
    """Name and reason of settings that have no effect with `--method emd`, those of the logits left out.

    Raises:
        UserError: neither attention nor hidden states are left to transport.
    """
    found = {"layer_map": "every student layer is compared with every teacher layer", **part_reasons(values)}
    if "projection" in found:
        found["share_param"] = found["projection"]
    attention, hidden = (not disabled_reason(values, part) for part in ("attention", "hidden"))
    if not attention and not hidden:
        raise UserError(
            "--method emd has nothing to transport: attention scores and hidden states are both off\n"
            "leave use_att or use_rep on, or choose --method logits"
        )
    if not values["update_weight"]:
        found.update(dict.fromkeys(_WEIGHTS, "without update_weight the layer weights stay uniform"))
    if values["emd_rule"] != "softmax":
        for name in ("T_emd", "add_softmax"):
            found.setdefault(name, "only --emd_rule softmax reads it")
    if not (attention and hidden):
        found.setdefault("seperate", "there is one kind of cost only")
    if values["beta"] == 0:
        names = ("theta", "embedding_weight", "hidden_reduction", "projection", "share_param", *_TRANSPORT)
        found.update(dict.fromkeys(names, "beta 0 leaves the prediction loss alone"))
    elif values["theta"] == 0:
        found.update(dict.fromkeys(_TRANSPORT, "theta 0 leaves nothing to transport"))
        if embedding := disabled_reason(values, "embedding"):
            names = ("hidden_reduction", "projection", "share_param")
            found.update(dict.fromkeys(names, f"theta is 0 and {embedding}"))
    return found
