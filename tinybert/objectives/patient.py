"""[CLS] states of several layers of the student against those of its teacher."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class PatientLoss(Loss):
    """Mean squared error between [CLS] states of length 1, over rows, mapped layers and dimensions.

    Args:
        pairs: (student entry, teacher entry), entry m the output of layer m.
        projection: `[B, 1, d] -> [B, 1, D]`; the identity between equal widths, as published.

    | inputs | labels |
    |---|---|
    | hidden states of both traces | none |

    Relations: `HiddenStateLoss` compares every token, and how long its states are.

    Source: PKD (Sun et al. 2019), equation 7; its code takes the mean over dimensions too, which its beta of 10 to 1000 goes with.
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
