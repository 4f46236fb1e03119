"""The options of `--method mud`, and which of them have no effect beside the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.method_options import refuse_for_others
from tinybert.config.options import Config, option
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.commands.distill import TaskDistillConfig

in_mud = partial(option, group="method mud")
_NUMBER = r"(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
_CONFIG_3D = re.compile(rf"(\d+)l_(\d+)t_{_NUMBER}h")
CONFIG_3D = ("keep_layers", "keep_tokens", "keep_hidden")


class MudOptions(Config):
    """ "Marginal Utility Diminishes": a chosen part of the teacher's hidden states, by layer, position and hidden entry."""

    layer_scheme: str | None = in_mud(
        None,
        help="t_topX: student entries spread evenly over the teacher's first X layers, g(m) = round(m X / S); none: over all",
        metavar="none|t_topX",
        unset="none",
    )
    keep_layers: int | None = in_mud(None, help="learn the last so many of the student's S + 1 entries", unset="all", at_least=1)
    s_layer_indices: list[int] = in_mud([], help="these student entries instead (0 is the embedding)", at_least=0)
    t_layer_indices: list[int] = in_mud([], help="the teacher entries that they learn from, one each", at_least=0)
    token_scheme: str | None = in_mud(
        None,
        help="which positions: the first ones, or those to which [CLS] pays most attention in the teacher, without the [SEP]s or with",
        choices=("none", "left_first", "attention", "attention_no_sep"),
        unset="none",
    )
    keep_tokens: int | None = in_mud(None, help="how many positions of each row", unset="all", at_least=1)
    att_ttop12: bool | None = in_mud(
        None,
        help="choose positions by the teacher layers that end S equal blocks, and not by the layer that is learnt",
        unset=FROM_PRESET,
    )
    hidden_scheme: str | None = in_mud(
        None,
        help="which hidden entries: random or evenly spread dimensions, or the largest by magnitude",
        choices=("none", "rand_mask", "uniform_mask", "importance_mask_dynamic"),
        unset="none",
    )
    keep_hidden: float | None = in_mud(None, help="which share of the hidden entries", unset="1", above=0, at_most=1)
    config_3d: str | None = in_mud(
        None, help="keep_layers, keep_tokens and keep_hidden in one word", metavar="1l_10t_0.1h", unset="the three options"
    )
    is_rosita: bool = in_mud(False, help="a student as wide as its teacher: --projection none")
    mud_mask: str | None = in_mud(
        None,
        help="hidden entries that are not chosen: not compared at all (both), or the student's pulled to 0 (teacher, published)",
        choices=("both", "teacher"),
        unset=FROM_PRESET,
    )
    mask_threshold: str | None = in_mud(
        None,
        help="importance_mask_dynamic: entries compete inside their example, or over the whole batch (published)",
        choices=("example", "batch"),
        unset=FROM_PRESET,
    )
    mask_first_step: bool | None = in_mud(
        None, help="apply rand_mask and uniform_mask in the first update too; the published script does not", unset=FROM_PRESET
    )


MUD_OPTIONS = tuple(name for name in MudOptions.options())


def read_config_3d(text: str) -> tuple[int, int, float]:
    """`2l_10t_0.1h` as layers, positions and the share of hidden entries.

    Raises:
        UserError: another form, or a number that cannot be.
    """
    match = _CONFIG_3D.fullmatch(text)
    layers, tokens, hidden = (int(match[1]), int(match[2]), float(match[3])) if match else (0, 0, 0.0)
    if not match or layers < 1 or tokens < 1 or not 0 < hidden <= 1:
        raise UserError(
            f"--config_3d got {text!r}\nexpected LAYERSl_TOKENSt_HIDDENh such as 1l_10t_0.1h: at least 1 layer, at least 1 token, and a "
            "share of the hidden entries above 0 and at most 1"
        )
    return layers, tokens, hidden


def check_mud(config: TaskDistillConfig) -> None:
    """Refuse options of this method without it, its preset for another method, and options that say two things.

    Raises:
        UserError: says which options do not go together.
    """
    refuse_for_others("mud", (*MUD_OPTIONS, "repr_distill"), config)
    scheme = config.layer_scheme
    if scheme not in (None, "none") and not re.fullmatch(r"t_top[1-9]\d*", scheme):
        raise UserError(f"--layer_scheme got {scheme!r}\nexpected none, or t_topX with a number of teacher layers, such as t_top10")
    students, teachers = config.s_layer_indices, config.t_layer_indices
    if len(students) != len(teachers):
        raise UserError(
            f"--s_layer_indices names {len(students)} entries of the student, --t_layer_indices {len(teachers)} of the teacher\n"
            "give both, with as many in each"
        )
    if config.config_3d is not None:
        for name, value in zip(CONFIG_3D, read_config_3d(config.config_3d), strict=True):
            if getattr(config, name) not in (None, value):
                raise UserError(
                    f"--config_3d {config.config_3d} says {name} {value}, --{name} says {getattr(config, name)}\ngive one of them"
                )
    if config.is_rosita and config.projection not in (None, "none"):
        raise UserError(f"--is_rosita is --projection none, --projection {config.projection} says otherwise\ngive one of them")


def mud_reasons(values: Mapping[str, object]) -> dict[str, str]:
    """Name and reason of settings that have no effect in the intermediate stage of `--method mud`.

    Raises:
        UserError: nothing is left to learn, more is kept than there is, or nobody says which positions or entries are kept.
    """
    found = {
        "layer_map": "layer_scheme and keep_layers choose the layers of --method mud",
        **dict.fromkeys(
            ("use_embedding", "embedding_weight"), "the embedding is one of the entries that keep_layers counts with --method mud"
        ),
        **dict.fromkeys(("use_att", "attention_weight", "attention_reduction", "attention_heads"), "--method mud learns no attention"),
    }
    if not values["use_rep"]:
        raise UserError(
            "--method mud learns hidden states in the intermediate stage, but use_rep is off\nleave it on, or choose --stage prediction"
        )
    if values["s_layer_indices"]:
        found |= dict.fromkeys(("layer_scheme", "keep_layers"), "s_layer_indices and t_layer_indices name the layers")
    else:
        found |= dict.fromkeys(("s_layer_indices", "t_layer_indices"), "layer_scheme and keep_layers choose the layers")
    length, tokens, scheme = values["max_seq_length"], values["keep_tokens"], values["token_scheme"] or "none"
    if tokens is not None and tokens > length:
        raise UserError(f"--keep_tokens {tokens} is more than there is: rows have at most {length} word pieces\nkeep at most that many")
    if scheme == "none":
        if tokens is not None and tokens < length:
            raise UserError(
                f"keep_tokens is {tokens}, but no --token_scheme says which positions these are\n"
                "add --token_scheme attention_no_sep, attention or left_first"
            )
        found |= dict.fromkeys(("keep_tokens", "att_ttop12"), "without a token_scheme all positions are learnt")
    elif scheme == "left_first":
        found["att_ttop12"] = "token_scheme left_first reads no attention"
    share, scheme = values["keep_hidden"], values["hidden_scheme"] or "none"
    if scheme == "none":
        if share is not None and share < 1:
            raise UserError(
                f"keep_hidden is {share:g}, but no --hidden_scheme says which entries these are\n"
                "add --hidden_scheme importance_mask_dynamic, uniform_mask or rand_mask"
            )
        names = ("keep_hidden", "mud_mask", "mask_threshold", "mask_first_step")
        return found | dict.fromkeys(names, "without a hidden_scheme all hidden entries are learnt")
    if scheme == "importance_mask_dynamic":
        found["mask_first_step"] = "importance_mask_dynamic is applied in every step"
    else:
        found["mask_threshold"] = "only hidden_scheme importance_mask_dynamic reads it"
    return found
