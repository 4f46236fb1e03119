"""The direction of the student's last hidden states compared with the teacher's."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class CosineLoss(Loss):
    """1 - cosine similarity of hidden states, averaged over tokens without padding.

    Args:
        pair: (student entry, teacher entry).
        projection: `[B, T, d] -> [B, T, D]`; the identity for equal widths, as published.

    | inputs | labels |
    |---|---|
    | hidden states of both traces | none |

    Relations: `HiddenStateLoss` also compares the norms.

    Source: DistilBERT (Sanh et al. 2019), section 3, L_cos.
    """

    unit = "tokens"

    def __init__(self, pair: tuple[int, int], projection: Projection) -> None:
        super().__init__()
        self.pair, self.projection = pair, projection
        self.needs_student = Needs(hidden=frozenset({pair[0]}))
        self.needs_teacher = Needs(hidden=frozenset({pair[1]}))

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The mean over tokens without padding, a scalar."""
        s, t = self.pair
        ours = self.projection(s, student.hidden[s]).astype("float32")
        cosine = F.cosine_similarity(ours, teacher.hidden[t].astype("float32"), axis=-1)  # [B, T]
        return ((1.0 - cosine) * inputs.attention_mask).sum() / inputs.attention_mask.sum()
