"""BERT-EMD: all layers of both models, matched by optimal transport, and logits, in one stage."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tinybert.config.options import Alias, option
from tinybert.config.resolve import Context
from tinybert.config.resolved import Settings
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.methods.layer_losses import LayerLosses, all_off, depths, make_projection, part_off, part_weights
from tinybert.methods.logit_losses import LogitLosses, logit_options, teacher_share
from tinybert.methods.method import DistillationMethod
from tinybert.methods.registry import register
from tinybert.methods.stage_objective import StageObjective

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel

in_emd = partial(option, group="method emd", setting=True)


def _uniform(context: Context) -> str | None:
    return None if context.update_weight else "without update_weight the layer weights stay uniform"


def _not_softmax(context: Context) -> str | None:
    return _uniform(context) or (None if context.emd_rule == "softmax" else "only --emd_rule softmax uses it")


def _one_cost(context: Context) -> str | None:
    single = part_off(context, "attention") or part_off(context, "hidden")
    return _uniform(context) or ("there is only one kind of cost" if single else None)


def _unlearnt(context: Context) -> str | None:
    if not context.use_pred:
        return "without use_pred the prediction loss uses the gold labels"
    return "prediction_weight is 0" if context.prediction_weight == 0 else None


def _unreduced(context: Context) -> str | None:
    fixed = "the older prediction loss (new_pred_loss False) fixes it"
    return _unlearnt(context) or context.off("T") or (None if context.new_pred_loss else fixed)


@register
class Emd(DistillationMethod, LayerLosses, LogitLosses):
    """beta * (theta * (attention + hidden states) + embedding) + prediction (Li et al. 2020)."""

    name = "emd"
    help = "one stage: all layers matched by optimal transport"
    stages = ("prediction",)
    at_once = True
    preset = "emd"
    weighs_gold_labels = True

    beta: float | None = in_emd(None, help="weight of all losses except the prediction loss", at_least=0, learnt="layers")
    theta: float | None = in_emd(
        None, help="weight of the two transport losses relative to the embedding loss", at_least=0, learnt="layers", part="embedding"
    )
    reduce_T: float | None = in_emd(  # noqa: N815  the published name
        None, help="divisor of the soft cross-entropy", above=0, learnt="logits", no_effect=_unreduced
    )
    emd_rule: str | None = in_emd(
        None,
        help="how costs become layer weights: their inverse (division), or a softmax of the inverse (the script until August 2021)",
        choices=("division", "softmax"),
        learnt="layers",
        part="transport",
        no_effect=_uniform,
    )
    T_emd: float | None = in_emd(
        None, help="temperature of emd_rule softmax", at_least=0.001, learnt="layers", part="transport", no_effect=_not_softmax
    )
    add_softmax: bool = in_emd(
        True,
        help="with emd_rule softmax: apply a second softmax, which keeps all layers within a factor of e",
        learnt="layers",
        part="transport",
        no_effect=_not_softmax,
    )
    seperate: bool = in_emd(
        False,
        help="separate layer weights for attention and for hidden states",
        alias=(Alias("separate", "correct spelling"),),
        learnt="layers",
        part="transport",
        no_effect=_one_cost,
    )
    update_weight: bool = in_emd(True, help="update the layer weights; otherwise they stay uniform", learnt="layers", part="transport")
    emd_update_steps: int = in_emd(
        1,
        help="update the layer weights every N model updates",
        at_least=1,
        learnt="layers",
        part="transport",
        no_effect=_uniform,
    )
    share_param: bool | None = in_emd(
        None,
        help="True means --projection shared, False --projection per_layer",
        unset="from --projection",
        learnt="layers",
        setting=False,
        sets=lambda value: {"projection": "shared" if value else "per_layer"},
    )
    new_pred_loss: bool = in_emd(
        True,
        help="False: the script's older prediction loss, i.e. half the soft cross-entropy, or the gold score of a regression",
        learnt="logits",
        no_effect=_unlearnt,
    )

    def check_stage(self, context: Context) -> None:
        """Reject transport without any term."""
        if all_off(context, "attention", "hidden"):
            raise UserError(
                "--method emd has nothing to transport: attention scores and hidden states are both off\n"
                "keep use_att or use_rep on, or choose --method logits"
            )

    def part_off(self, context: Context, part: str) -> str | None:
        """beta 0 disables everything but the prediction, theta 0 the transported terms; the older prediction loss has fixed weights."""
        if part == "target":
            return None if context.new_pred_loss else "the older prediction loss (new_pred_loss False) fixes it"
        if context.beta == 0:
            return "beta 0 leaves only the prediction loss"
        if context.theta == 0 and part in ("attention", "hidden", "transport"):
            return "with theta 0 nothing is transported"
        embedding = part_off(context, "embedding")
        return f"theta is 0 and {embedding}" if context.theta == 0 and part == "states" and embedding else None

    def check_installation(self) -> None:
        """Check for the optimal transport solver."""
        from tinybert.objectives.layer_weights import solver

        solver()

    def compares_scores(self, settings: Settings) -> bool:
        """Whether attention is transported."""
        return bool(settings.beta and settings.theta and part_weights(settings)["attention"])

    def objective(self, settings: Settings, kind: Kind | None, student: LoadedModel, teacher: LoadedModel | None) -> StageObjective:
        """Transport terms, embedding, and logits."""
        from tinybert.engine.processes import sum_over_ranks
        from tinybert.objectives.emd import Comparison, Shares, emd_objective
        from tinybert.objectives.layer_weights import LayerWeights

        layers = depths(student, teacher)
        theta, parts = settings.theta or 0.0, part_weights(settings)  # options without effect in combination are None
        kinds = tuple(kind for kind, part in (("attn", "attention"), ("hidn", "hidden")) if theta and parts[part])
        weights = LayerWeights(
            *layers,
            kinds=kinds,
            rule=settings.emd_rule or "division",
            temperature=settings.T_emd or 1.0,
            merge=not settings.seperate,
            second_softmax=bool(settings.add_softmax),
            update=bool(settings.update_weight),
            every=settings.emd_update_steps or 1,
            over_ranks=sum_over_ranks,
        )
        projection, facts, lines = None, {}, []
        if kinds:
            lines.append(f"transport: {layers[0]} student layers onto {layers[1]} teacher layers")
        if settings.beta and ("hidn" in kinds or parts["embedding"]):
            projection, fact, line = make_projection(settings, student, teacher)
            facts["projection"] = fact
            lines.append(line)
        shares = Shares(
            settings.beta,
            theta,
            **parts,
            prediction=settings.prediction_weight,
            alpha=teacher_share(settings),
            reduce_temperature=settings.reduce_T or 1.0,
            new_prediction_loss=not settings.use_pred or bool(settings.new_pred_loss),
        )
        comparison = Comparison(
            settings.attention_reduction or "masked", settings.attention_heads or "match", settings.hidden_reduction or "masked"
        )
        objective = emd_objective(layers, weights, projection, kind, logit_options(settings), shares, comparison)
        return StageObjective(objective, weights, facts, lines)
