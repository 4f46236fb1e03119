"""Hidden states of the student compared with the teacher's; also used for the embedding output (entry 0)."""

from __future__ import annotations

from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import SummedLoss
from tinybert.objectives.squared_error import mean_square


class HiddenStateLoss(SummedLoss):
    """Mean squared error between projected student states and teacher states, summed over the mapped entries.

    Args:
        pairs: (student entry, teacher entry); entry 0 is the embedding output.
        projection: `[B, T, d] -> [B, T, D]`, shared with other losses and trained with the student.
        reduction: `masked` averages over dimensions and tokens without padding, so the value does not depend on the padded length;
            `mean` averages over all elements including padding, as in the published scripts.

    | inputs | labels |
    |---|---|
    | hidden states of both traces | none |

    Relations: usually combined with `AttentionScoreLoss`; in TinyBERT's ablation the score drops more without attention
    (75.6 -> 71.0) than without hidden states (72.9).

    Source: TinyBERT (Jiao et al. 2020), equations 8 and 9; huawei-noah/Pretrained-Language-Model, TinyBERT/task_distill.py.
    """

    def __init__(self, pairs: tuple[tuple[int, int], ...], projection: Projection, reduction: str = "masked") -> None:
        super().__init__()
        self.pairs = pairs
        self.projection = projection
        self.reduction = reduction
        self.unit = "tokens" if reduction == "masked" else "rows"
        self.needs_student = Needs(hidden=frozenset(s for s, _ in pairs))
        self.needs_teacher = Needs(hidden=frozenset(t for _, t in pairs))

    def terms(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> list[Tensor]:
        """The loss of each pair, scalars in the order of `pairs`."""
        real = inputs.attention_mask.unsqueeze(-1) if self.reduction == "masked" and inputs.padded else None
        return [mean_square(self.projection(s, student.hidden[s]), teacher.hidden[t], real) for s, t in self.pairs]
