"""Attention scores of the student compared with the teacher's."""

from __future__ import annotations

import paddle
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import SummedLoss
from tinybert.objectives.squared_error import mean_square

_PADDED = -100.0  # published rule: a score at or below this counts as masked


class AttentionScoreLoss(SummedLoss):
    """Mean squared error between scores before softmax, summed over the mapped layers.

    Args:
        pairs: (student layer, teacher layer), 0-based.
        reduction: `masked` averages over heads and pairs of tokens without padding;
            `zeroed` sets every score <= -100 to 0 and averages over all `[B, h, T, T]`, so padded keys count as equal and padded queries
            count fully (Huawei, BERT-EMD); scores that are really that small are lost too;
            `raw` compares all values unchanged (PaddleNLP): masked columns add the noise of scores shifted by -10000.
        heads: `match` compares head by head; `average` compares the means over heads, for different head counts.

    | inputs | labels |
    |---|---|
    | scores of both traces | none |

    Relations: both encoders need the same token sequence, so the same vocabulary; usually combined with `HiddenStateLoss`.

    Source: TinyBERT (Jiao et al. 2020), equation 7; huawei-noah/Pretrained-Language-Model, TinyBERT/task_distill.py.
    """

    def __init__(self, pairs: tuple[tuple[int, int], ...], reduction: str = "masked", heads: str = "match") -> None:
        super().__init__()
        self.pairs = pairs
        self.reduction = reduction
        self.heads = heads
        self.unit = "token_pairs" if reduction == "masked" else "rows"
        self.needs_student = Needs(scores=frozenset(s for s, _ in pairs))
        self.needs_teacher = Needs(scores=frozenset(t for _, t in pairs))

    def terms(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> list[Tensor]:
        """The loss of each pair of layers, scalars in the order of `pairs`."""
        real = None
        if self.reduction == "masked" and inputs.padded:
            real = paddle.matmul(inputs.attention_mask.unsqueeze(2), inputs.attention_mask.unsqueeze(1)).unsqueeze(1)  # [B, 1, T, T]
        return [self._compare(student.scores[s], teacher.scores[t], real) for s, t in self.pairs]

    def _compare(self, student: Tensor, teacher: Tensor, real: Tensor | None) -> Tensor:
        if self.reduction == "zeroed":
            student, teacher = zero_masked(student), zero_masked(teacher)
        if self.heads == "average":
            student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
        return mean_square(student, teacher, real)


def zero_masked(scores: Tensor) -> Tensor:
    """Scores with 0 in place of those that the published rule treats as padding."""
    return paddle.where(scores <= _PADDED, paddle.zeros_like(scores), scores)
