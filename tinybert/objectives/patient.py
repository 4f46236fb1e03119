"""[CLS] states of several student layers compared with the teacher's."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class PatientLoss(Loss):
    """Mean squared error between normalised [CLS] states, over rows, mapped layers and dimensions.

    Args:
        pairs: (student entry, teacher entry), entry m the output of layer m.
        projection: `[B, 1, d] -> [B, 1, D]`; the identity for equal widths, as published.

    | inputs | labels |
    |---|---|
    | hidden states of both traces | none |

    Relations: `HiddenStateLoss` compares all tokens, including the norms of their states.

    Source: PKD (Sun et al. 2019), equation 7; like its code it averages over dimensions, to which its beta of 10 to 1000 is adapted.
    """

    def __init__(self, pairs: tuple[tuple[int, int], ...], projection: Projection) -> None:
        super().__init__()
        self.pairs, self.projection = pairs, projection
        self.needs_student = Needs(hidden=frozenset(s for s, _ in pairs))
        self.needs_teacher = Needs(hidden=frozenset(t for _, t in pairs))

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The mean over the pairs, a scalar."""
        losses = [
            F.mse_loss(
                F.normalize(self.projection(s, student.hidden[s][:, :1]).astype("float32"), axis=-1),
                F.normalize(teacher.hidden[t][:, :1].astype("float32"), axis=-1),
            )
            for s, t in self.pairs
        ]
        return paddle.add_n(losses) / len(losses)
