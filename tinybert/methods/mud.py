"""MUD, "Marginal Utility Diminishes": selects layers, positions and dimensions of the teacher's hidden states."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from tinybert.config.options import option
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.mapping import LayerMap
from tinybert.methods.layer_losses import HiddenLosses, depths, make_projection, part_weights
from tinybert.methods.logit_losses import LogitLosses
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel
    from tinybert.traces.selection import DimensionSelection

in_mud = partial(option, group="method mud", setting=True, learnt="layers")
_NUMBER = r"(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
_CONFIG_3D = re.compile(rf"(\d+)l_(\d+)t_{_NUMBER}h")
CONFIG_3D = ("keep_layers", "keep_tokens", "keep_hidden")


def _named_layers(context: Context) -> str | None:
    return "s_layer_indices and t_layer_indices give the layers" if context.s_layer_indices else None


def _unnamed_layers(context: Context) -> str | None:
    return None if context.s_layer_indices else "layer_scheme and keep_layers choose the layers"


def _all_tokens(context: Context) -> str | None:
    return "without a token_scheme all positions are learned" if context.token_scheme in (None, "none") else None


def _attention_unread(context: Context) -> str | None:
    return "token_scheme left_first uses no attention" if context.token_scheme == "left_first" else _all_tokens(context)


def _all_entries(context: Context) -> str | None:
    return "without a hidden_scheme all hidden entries are learned" if context.hidden_scheme in (None, "none") else None


def _no_threshold(context: Context) -> str | None:
    fixed = context.hidden_scheme != "importance_mask_dynamic"
    return _all_entries(context) or ("only hidden_scheme importance_mask_dynamic uses it" if fixed else None)


def _no_fixed_mask(context: Context) -> str | None:
    dynamic = context.hidden_scheme == "importance_mask_dynamic"
    return _all_entries(context) or ("importance_mask_dynamic is applied in every step" if dynamic else None)


def read_config_3d(text: str) -> tuple[int, int, float]:
    """Parse `2l_10t_0.1h` to layers, positions and the share of hidden dimensions.

    Raises:
        UserError: another format, or an invalid number.
    """
    match = _CONFIG_3D.fullmatch(text)
    layers, tokens, hidden = (int(match[1]), int(match[2]), float(match[3])) if match else (0, 0, 0.0)
    if not match or layers < 1 or tokens < 1 or not 0 < hidden <= 1:
        raise UserError(
            f"--config_3d got {text!r}\nexpected LAYERSl_TOKENSt_HIDDENh such as 1l_10t_0.1h: at least 1 layer, at least 1 token, and a "
            "share of the hidden entries above 0 and at most 1"
        )
    return layers, tokens, hidden


@register
class Mud(DistillationMethod, HiddenLosses, LogitLosses):
    """Selected hidden states, then logits (Liu et al. 2021)."""

    name = "mud"
    help = "both stages: selected hidden states, then logits"
    preset = "mud"

    repr_distill: bool = option(
        False, group="stage and method", help="MUD's spelling of --stage intermediate; together with --pred_distill, of --stage joint"
    )
    layer_scheme: str | None = in_mud(
        None,
        help="t_topX: student entries mapped evenly onto the teacher's first X layers, g(m) = round(m X / S); none: onto all layers",
        metavar="none|t_topX",
        unset="none",
        no_effect=_named_layers,
    )
    keep_layers: int | None = in_mud(
        None, help="number of student entries to learn, the last of S + 1", unset="all of them", at_least=1, no_effect=_named_layers
    )
    s_layer_indices: list[int] = in_mud(
        [], help="explicit student entries instead (0 is the embedding)", at_least=0, no_effect=_unnamed_layers
    )
    t_layer_indices: list[int] = in_mud(
        [], help="the teacher entries that they learn from, one per student entry", at_least=0, no_effect=_unnamed_layers
    )
    token_scheme: str | None = in_mud(
        None,
        help="which positions: the first (left_first), or those with the most attention from [CLS] in the teacher, without [SEP] "
        "(attention_no_sep) or with it (attention)",
        choices=("none", "left_first", "attention", "attention_no_sep"),
        unset="none",
    )
    keep_tokens: int | None = in_mud(None, help="number of positions per row", unset="all of them", at_least=1, no_effect=_all_tokens)
    att_ttop12: bool | None = in_mud(
        None,
        help="choose positions by the last teacher layers of S equal blocks instead of by the learned layer",
        no_effect=_attention_unread,
    )
    hidden_scheme: str | None = in_mud(
        None,
        help="which hidden entries: random (rand_mask) or evenly spaced (uniform_mask) dimensions, or the largest by magnitude "
        "(importance_mask_dynamic)",
        choices=("none", "rand_mask", "uniform_mask", "importance_mask_dynamic"),
        unset="none",
    )
    keep_hidden: float | None = in_mud(None, help="share of the hidden entries", unset="1", above=0, at_most=1, no_effect=_all_entries)
    config_3d: str | None = in_mud(
        None,
        help="keep_layers, keep_tokens and keep_hidden in one option",
        metavar="1l_10t_0.1h",
        unset="the three options",
        setting=False,
        sets=lambda value: dict(zip(CONFIG_3D, read_config_3d(value), strict=True)),
    )
    is_rosita: bool = in_mud(
        False, help="the student has the teacher's width: --projection none", setting=False, sets=lambda value: {"projection": "none"}
    )
    mud_mask: str | None = in_mud(
        None,
        help="hidden entries that are not selected: not compared (both), or the student's trained towards 0 (teacher, published)",
        choices=("both", "teacher"),
        no_effect=_all_entries,
    )
    mask_threshold: str | None = in_mud(
        None,
        help="importance_mask_dynamic: rank entries within each example, or over the whole batch (published)",
        choices=("example", "batch"),
        no_effect=_no_threshold,
    )
    mask_first_step: bool | None = in_mud(
        None, help="also apply rand_mask and uniform_mask in the first update; the published script does not", no_effect=_no_fixed_mask
    )

    def check(self, config: Any) -> None:
        """Reject a malformed selection of layers, and lists of different lengths."""
        scheme = config.layer_scheme
        if scheme not in (None, "none") and not re.fullmatch(r"t_top[1-9]\d*", scheme):
            raise UserError(f"--layer_scheme got {scheme!r}\nexpected none, or t_topX with a number of teacher layers, such as t_top10")
        students, teachers = config.s_layer_indices, config.t_layer_indices
        if len(students) != len(teachers):
            raise UserError(
                f"--s_layer_indices names {len(students)} entries of the student, --t_layer_indices {len(teachers)} of the teacher\n"
                "give both, with the same number of entries"
            )

    def check_stage(self, context: Context) -> None:
        """Reject a stage with nothing to learn, selections larger than the models, and sizes without a scheme that selects."""
        super().check_stage(context)
        if "layers" not in context.learns:
            return
        if not part_weights(context)["hidden"]:
            why = "use_rep is off" if not context.use_rep else "their weight is 0"
            raise UserError(
                f"--method mud learns hidden states in the intermediate stage, but {why}\nkeep it on, or choose --stage prediction"
            )
        length, tokens, scheme = context.max_seq_length, context.keep_tokens, context.token_scheme or "none"
        if tokens is not None and tokens > length:
            raise UserError(f"--keep_tokens {tokens} is too large: rows have at most {length} tokens\nkeep at most that many")
        if scheme == "none" and tokens is not None and tokens < length:
            raise UserError(
                f"keep_tokens is {tokens}, but no --token_scheme selects them\nadd --token_scheme attention_no_sep, attention or left_first"
            )
        share = context.keep_hidden
        if context.hidden_scheme in (None, "none") and share is not None and share < 1:
            raise UserError(
                f"keep_hidden is {share:g}, but no --hidden_scheme selects them\n"
                "add --hidden_scheme importance_mask_dynamic, uniform_mask or rand_mask"
            )

    def layers(self, settings: Settings, student: LoadedModel, teacher: LoadedModel) -> StageObjective:
        """Selected hidden states."""
        from tinybert.objectives.mud import MaskStart, SelectedHiddenLoss
        from tinybert.objectives.objective import Objective, Part
        from tinybert.traces.selection import Selection, TokenSelection, deciding_layers

        layers, width = depths(student, teacher), teacher.config.hidden_size
        if settings.s_layer_indices:
            named = zip(settings.s_layer_indices, settings.t_layer_indices, strict=True)
            layer_map = LayerMap.create(",".join(f"{s}:{t}" for s, t in named), *layers)
        else:
            top = (settings.layer_scheme or "none").removeprefix("t_top")
            layer_map = LayerMap.grid(*layers, None if top == "none" else int(top), settings.keep_layers)
        tokens = TokenSelection(settings.token_scheme or "none", settings.keep_tokens or settings.max_seq_length, student.tokenizer.sep_id)
        deciding = deciding_layers(layer_map.hidden, *layers, published=bool(settings.att_ttop12))
        selection = Selection(layer_map.hidden, deciding, tokens, _width(settings, width))
        projection, fact, line = make_projection(settings, student, teacher)
        fixed = bool(selection.width.dims)
        start = MaskStart() if fixed and not settings.mask_first_step else None
        loss = SelectedHiddenLoss(selection, projection, settings.mud_mask or "both", settings.hidden_reduction, start)
        facts = {
            "projection": fact,
            "layer_map": layer_map.hidden,
            "token_layers": list(deciding) if tokens.reads_scores else None,
            "kept_dimensions": list(selection.width.dims) if fixed else None,
        }
        positions = "all positions" if tokens.scheme == "none" else f"{tokens.keep} positions ({tokens.scheme})"
        chosen = selection.width
        entries = "all hidden entries" if chosen.scheme == "none" else f"{chosen.keep:.3g} of the hidden entries ({chosen.scheme})"
        lines = [layer_map.table("hidden states"), f"selection: {len(layer_map.hidden)} entries, {positions}, {entries}", line]
        objective = Objective([Part("hidn", loss, part_weights(settings)["hidden"])], projection)
        return StageObjective(objective, start, facts, lines, selection)


def _width(settings: Settings, width: int) -> DimensionSelection:
    from tinybert import runtime
    from tinybert.traces.selection import DimensionSelection, random_dims, uniform_dims

    scheme, keep = settings.hidden_scheme or "none", settings.keep_hidden or 1.0
    dims: tuple[int, ...] = ()
    if scheme == "uniform_mask":
        dims = uniform_dims(width, keep)
        if not dims:
            raise UserError(f"--keep_hidden {keep:g} keeps none of the {width} dimensions.\nKeep at least {1 / width:.2g} of them.")
    elif scheme == "rand_mask":
        dims = random_dims(width, keep, runtime.derive_seed(settings.seed, "hidden mask"))
    return DimensionSelection(scheme, keep, dims, settings.mask_threshold or "example")
