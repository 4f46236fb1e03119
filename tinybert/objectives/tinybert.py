"""TinyBERT's two objectives, built from named conventions."""

from __future__ import annotations

from tinybert.errors import UserError
from tinybert.kinds.kind import PLAIN, Kind, LogitOptions
from tinybert.mapping import LayerMap
from tinybert.models.projections import Projection
from tinybert.objectives.attention import AttentionScoreLoss
from tinybert.objectives.hidden import HiddenStateLoss
from tinybert.objectives.objective import Objective, Part


def intermediate_objective(
    layer_map: LayerMap,
    projection: Projection,
    *,
    embedding_weight: float = 1.0,
    hidden_weight: float = 1.0,
    attention_weight: float = 1.0,
    hidden_reduction: str = "masked",
    attention_reduction: str = "masked",
    attention_heads: str = "match",
    more: tuple[Part, ...] = (),
) -> Objective:
    """Stage one: embedding, hidden states and attention scores, plus `more`. A weight of 0 disables a term.

    Raises:
        UserError: all terms are disabled.

    Source: TinyBERT (Jiao et al. 2020), equations 7 (attention), 8 (hidden states) and 9 (embedding).
    """
    embedding = tuple(pair for pair in layer_map.hidden if pair[0] == 0)
    hidden = tuple(pair for pair in layer_map.hidden if pair[0] > 0)
    parts = []
    if embedding_weight and embedding:
        parts.append(Part("embd", HiddenStateLoss(embedding, projection, hidden_reduction), embedding_weight))
    if hidden_weight and hidden:
        parts.append(Part("hidn", HiddenStateLoss(hidden, projection, hidden_reduction), hidden_weight))
    if attention_weight and layer_map.attention:
        loss = AttentionScoreLoss(layer_map.attention, attention_reduction, attention_heads)
        parts.append(Part("attn", loss, attention_weight))
    parts += [part for part in more if part.weight]
    if not parts:
        raise UserError(
            "the intermediate stage has nothing to learn: embedding, hidden and attention losses are all off.\n"
            "Leave one of them on, or run only the prediction stage (--stage prediction)."
        )
    return Objective(parts, projection)


def prediction_objective(kind: Kind, options: LogitOptions = PLAIN, *, alpha: float = 1.0, weight: float = 1.0) -> Objective:
    """Stage two: alpha times the teacher's logits plus (1 - alpha) times the gold labels, with the losses of the kind.

    Source: TinyBERT (Jiao et al. 2020), equation 10, alpha 1; mixing with gold labels as in Hinton et al. 2015, section 2.
    """
    teacher_loss = kind.teacher_loss(options)
    if teacher_loss is None:
        return Objective([Part("gold", kind.gold_loss(), weight)])
    return Objective([Part("pred", teacher_loss, weight * alpha), Part("gold", kind.gold_loss(), weight * (1.0 - alpha))])


def gold_objective(kind: Kind) -> Objective:
    """Fine-tuning: only the gold labels."""
    return Objective([Part("gold", kind.gold_loss())])
