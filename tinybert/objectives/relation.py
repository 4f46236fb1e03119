"""Self-attention relations of the student compared with the teacher's."""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from tinybert.errors import UserError
from tinybert.models.trace import MASK_VALUE, EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import SummedLoss

KINDS = ("query", "key", "value")


class RelationLoss(SummedLoss):
    """Kullback-Leibler divergence between query-query, key-key and value-value relations of one layer of each encoder.

    The heads of a layer are concatenated, `[B, T, D]`, and split into `heads` relation heads, so widths and numbers of heads of the two
    encoders may differ. A relation is softmax(X X^T / sqrt(D / heads)) without padded keys; the divergence of the student's from the
    teacher's is averaged over relation heads and tokens without padding, and summed over the three kinds.

    Args:
        pair: (student layer, teacher layer), 0-based; MiniLMv2 uses the last layers, or an upper middle layer of a large teacher.
        heads: relation heads; more than the encoders have make relations finer (MiniLMv2: 48 for a teacher with 12 heads).
        widths: D of student and teacher, to check divisibility by `heads`.

    Raises:
        UserError: `heads` does not divide a width.

    | inputs | labels |
    |---|---|
    | queries, keys, values of both traces | none |

    Relations: `AttentionScoreLoss` compares queries with keys per head, and needs equal numbers of heads; neither needs a projection.

    Source: MiniLMv2 (Wang et al. 2021), section 3.1 and equation 1.
    """

    unit = "tokens"

    def __init__(self, pair: tuple[int, int], heads: int, widths: tuple[int, int]) -> None:
        super().__init__()
        for role, width in zip(("student", "teacher"), widths, strict=True):
            if width % heads:
                common = math.gcd(*widths)
                divisors = ", ".join(str(number) for number in range(1, common + 1) if not common % number)
                raise UserError(
                    f"{heads} relation heads do not divide the {width} dimensions of the {role}.\n"
                    f"Choose a divisor of {widths[0]} and {widths[1]}: {divisors}."
                )
        self.pair = pair
        self.heads = heads
        self.needs_student = Needs(qkv=frozenset({pair[0]}))
        self.needs_teacher = Needs(qkv=frozenset({pair[1]}))

    def terms(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> list[Tensor]:
        """The divergence of each kind of relation, scalars in the order of `KINDS`."""
        mask = inputs.attention_mask
        keys = ((1.0 - mask) * MASK_VALUE).unsqueeze([1, 2])  # [B, 1, 1, T]
        losses = []
        for kind in KINDS:
            ours = self._log_relation(getattr(student, kind)[self.pair[0]], keys)
            theirs = self._log_relation(getattr(teacher, kind)[self.pair[1]], keys)
            losses.append(divergence(ours, theirs, mask))
        return losses

    def _log_relation(self, heads: Tensor, keys: Tensor) -> Tensor:
        """`[B, h, T, head size] -> [B, relation heads, T, T]`: the log relation between each pair of tokens."""
        whole = heads.transpose([0, 2, 1, 3]).flatten(2).astype("float32")  # [B, T, D]; half precision would lose small differences
        size = whole.shape[-1] // self.heads
        cut = whole.reshape([0, 0, self.heads, size]).transpose([0, 2, 1, 3])
        return F.log_softmax(paddle.matmul(cut * size**-0.5, cut, transpose_y=True) + keys)


def divergence(ours: Tensor, theirs: Tensor, mask: Tensor) -> Tensor:
    """Kullback-Leibler divergence of log distributions over keys `[B, h, T, T]`, the mean over heads and tokens without padding."""
    each = (paddle.exp(theirs) * (theirs - ours)).sum(-1)  # [B, h, T]
    return (each * mask.unsqueeze(1)).sum() / (mask.sum() * ours.shape[1])
