"""Attention distributions and value relations of the last layers."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from tinybert.errors import UserError
from tinybert.models.trace import MASK_VALUE, EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import SummedLoss
from tinybert.objectives.relation import divergence


class LastAttentionLoss(SummedLoss):
    """Kullback-Leibler divergence of the student's last attention distributions from the teacher's, and of their value relations.

    A value relation is softmax(V V^T / sqrt(head size)) per head: widths may differ, numbers of heads may not. Both divergences are
    averaged over heads and tokens without padding; padded keys are excluded.

    Args:
        pair: (student layer, teacher layer), 0-based; MiniLM takes the last layers of both.
        heads: attention heads of student and teacher.

    Raises:
        UserError: the numbers of heads differ.

    | inputs | labels |
    |---|---|
    | scores and values of both traces | none |

    Relations: `RelationLoss` (MiniLMv2) defines new heads, so numbers of heads may differ.

    Source: MiniLM (Wang et al. 2020), equations 5 and 7.
    """

    unit = "tokens"

    def __init__(self, pair: tuple[int, int], heads: tuple[int, int]) -> None:
        super().__init__()
        if heads[0] != heads[1]:
            raise UserError(
                f"--method minilm compares attention head by head, but the student has {heads[0]} heads and the teacher {heads[1]}\n"
                "choose a student with the same number of heads, or --method minilmv2"
            )
        self.pair = pair
        self.needs_student = Needs(scores=frozenset({pair[0]}), qkv=frozenset({pair[0]}))
        self.needs_teacher = Needs(scores=frozenset({pair[1]}), qkv=frozenset({pair[1]}))

    def terms(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> list[Tensor]:
        """The divergence of attention and of value relations, scalars."""
        s, t = self.pair
        keys = ((1.0 - inputs.attention_mask) * MASK_VALUE).unsqueeze([1, 2])  # [B, 1, 1, T]
        logits = [
            (student.scores[s].astype("float32") + keys, teacher.scores[t].astype("float32") + keys),
            (_relation(student.value[s]) + keys, _relation(teacher.value[t]) + keys),
        ]
        return [divergence(F.log_softmax(ours), F.log_softmax(theirs), inputs.attention_mask) for ours, theirs in logits]


def _relation(value: Tensor) -> Tensor:
    """`[B, h, T, head size] -> [B, h, T, T]`, before softmax."""
    value = value.astype("float32")
    return paddle.matmul(value * value.shape[-1] ** -0.5, value, transpose_y=True)
