"""BERT-EMD's objective: every student layer learns from all teacher layers, weighted by optimal transport."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinybert.errors import UserError
from tinybert.kinds.kind import PLAIN, Kind, LogitOptions
from tinybert.models.projections import Projection
from tinybert.objectives.hidden import HiddenStateLoss
from tinybert.objectives.layer_weights import LayerWeights
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.prediction import SoftCrossEntropyLoss
from tinybert.objectives.transport import AttentionTransportLoss, HiddenTransportLoss


@dataclass(frozen=True)
class Shares:
    """The weights of the terms: beta * (theta * (attention + hidden) + embedding) + prediction.

    attention, hidden, embedding, prediction: an additional weight for each term; 0 disables it. alpha: weight of the teacher's logits
    against the gold labels. reduce_temperature: divisor of the soft cross-entropy. new_prediction_loss: False is the script's older
    version: the soft cross-entropy divided by 2 or, for one output, the gold score, without alpha and reduce_temperature.
    """

    beta: float = 0.01
    theta: float = 1.0
    attention: float = 1.0
    hidden: float = 1.0
    embedding: float = 1.0
    prediction: float = 1.0
    alpha: float = 1.0
    reduce_temperature: float = 1.0
    new_prediction_loss: bool = True


@dataclass(frozen=True)
class Comparison:
    """How attention scores and hidden states are compared; see `AttentionTransportLoss` and `HiddenTransportLoss` for the values."""

    attention_reduction: str = "masked"
    attention_heads: str = "match"
    hidden_reduction: str = "masked"


def emd_objective(
    layers: tuple[int, int],
    weights: LayerWeights,
    projection: Projection | None,
    kind: Kind,
    options: LogitOptions = PLAIN,
    shares: Shares = Shares(),
    comparison: Comparison = Comparison(),
) -> Objective:
    """beta * (theta * (attn + hidn) + embd) + alpha * pred + (1 - alpha) * gold, in one stage.

    Raises:
        UserError: all terms are disabled.

    Source: BERT-EMD (Li et al. 2020); lxk00/BERT-EMD, bert_emd/emd_task_distill.py, for beta, theta and the older prediction loss.
    """
    beta, theta, alpha, reduce_temperature = shares.beta, shares.theta, shares.alpha, shares.reduce_temperature
    transport = AttentionTransportLoss(layers, weights, comparison.attention_reduction, comparison.attention_heads)
    parts = [Part("attn", transport, beta * theta * shares.attention)]
    if projection is not None:
        reduction = comparison.hidden_reduction
        parts.append(Part("hidn", HiddenTransportLoss(layers, weights, projection, reduction), beta * theta * shares.hidden))
        parts.append(Part("embd", HiddenStateLoss(((0, 0),), projection, reduction), beta * shares.embedding))
    if not shares.new_prediction_loss:
        alpha, reduce_temperature, options = 1.0, 2.0, replace(options, regression_target="gold")
    teacher_loss = kind.teacher_loss(options)
    if teacher_loss is None:
        parts.append(Part("gold", kind.gold_loss(), shares.prediction))
    else:
        softened = kind.softens or isinstance(teacher_loss, SoftCrossEntropyLoss)
        parts.append(Part("pred", teacher_loss, shares.prediction * alpha / (reduce_temperature if softened else 1.0)))
        parts.append(Part("gold", kind.gold_loss(), shares.prediction * (1.0 - alpha)))
    objective = Objective(parts, projection)
    if not objective.parts:
        raise UserError("--method emd has nothing to learn: every weight is 0.\nLeave --beta or --prediction_weight above 0.")
    return objective
