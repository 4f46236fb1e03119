"""BERT-EMD's objective: every student layer learns from every teacher layer as far as transport between them is cheap."""

from __future__ import annotations

from tinybert.errors import UserError
from tinybert.models.projections import Projection
from tinybert.objectives.gold import GoldLabelLoss
from tinybert.objectives.hidden import HiddenStateLoss
from tinybert.objectives.layer_weights import LayerWeights
from tinybert.objectives.objective import Objective, Part
from tinybert.objectives.prediction import RegressionLoss, SoftCrossEntropyLoss
from tinybert.objectives.transport import AttentionTransportLoss, HiddenTransportLoss


def emd_objective(
    layers: tuple[int, int],
    weights: LayerWeights,
    projection: Projection | None,
    outputs: int,
    *,
    beta: float = 0.01,
    theta: float = 1.0,
    attention: float = 1.0,
    hidden: float = 1.0,
    embedding: float = 1.0,
    prediction: float = 1.0,
    alpha: float = 1.0,
    temperature: float = 1.0,
    reduce_temperature: float = 1.0,
    new_prediction_loss: bool = True,
    attention_reduction: str = "masked",
    attention_heads: str = "match",
    hidden_reduction: str = "masked",
    soft_ce_reduction: str = "sum",
    temperature_square: bool = True,
    regression_target: str = "teacher",
) -> Objective:
    """beta * (theta * (attn + hidn) + embd) + alpha * pred + (1 - alpha) * gold, in one stage.

    attention, hidden, embedding, prediction: one more weight for each part; 0 leaves it out and uncomputed.
    reduce_temperature: divides the soft cross-entropy. new_prediction_loss: False is the script's older form, the soft cross-entropy
    divided by 2 or, with one output, the gold score; alpha and reduce_temperature play no part in it.

    Raises:
        UserError: every part is switched off.

    Source: BERT-EMD (Li et al. 2020); lxk00/BERT-EMD, bert_emd/emd_task_distill.py, for beta, theta and the older prediction loss.
    """
    parts = [Part("attn", AttentionTransportLoss(layers, weights, attention_reduction, attention_heads), beta * theta * attention)]
    if projection is not None:
        parts.append(Part("hidn", HiddenTransportLoss(layers, weights, projection, hidden_reduction), beta * theta * hidden))
        parts.append(Part("embd", HiddenStateLoss(((0, 0),), projection, hidden_reduction), beta * embedding))
    if not new_prediction_loss:
        alpha, reduce_temperature, regression_target = 1.0, 2.0, "gold"
    if outputs == 1 and regression_target == "gold":
        parts.append(Part("gold", GoldLabelLoss(), prediction))
    else:
        regression = outputs == 1 and regression_target == "teacher"
        loss = RegressionLoss() if regression else SoftCrossEntropyLoss(temperature, soft_ce_reduction, temperature_square)
        parts.append(Part("pred", loss, prediction * alpha / (1.0 if regression else reduce_temperature)))
        parts.append(Part("gold", GoldLabelLoss(), prediction * (1.0 - alpha)))
    objective = Objective(parts, projection)
    if not objective.parts:
        raise UserError("--method emd has nothing to learn: every weight is 0.\nLeave --beta or --prediction_weight above 0.")
    return objective
