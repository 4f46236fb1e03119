"""Answer spans: the student's logits over positions compared with the gold positions or the teacher's logits."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import MASK_VALUE, EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss
from tinybert.objectives.prediction import SoftTargetLoss


def _over_places(logits: Tensor, inputs: Inputs) -> Tensor:
    """`[B, T, 2] -> [B, 2, T]`, padding masked."""
    padding = ((1.0 - inputs.attention_mask) * MASK_VALUE).unsqueeze(1)
    return logits.astype("float32").transpose([0, 2, 1]) + padding


class SpanGoldLoss(Loss):
    """Mean cross-entropy of the first and the last token of the answer; position 0 if the window has none.

    | inputs | labels |
    |---|---|
    | logits `[B, T, 2]` of the student | int `[B, 2]` positions |

    Source: BERT (Devlin et al. 2019), section 4.2.
    """

    needs_labels = True
    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        logits = _over_places(student.logits, inputs)
        return F.cross_entropy(logits.reshape([-1, logits.shape[-1]]), inputs.labels.astype("int64").reshape([-1, 1]))


class SpanSoftLoss(SoftTargetLoss):
    """Cross-entropy of the student's softened start and end distributions over positions under the teacher's, averaged over both.

    | inputs | labels |
    |---|---|
    | logits `[B, T, 2]` of both traces | none |
    """

    def softened(self, student: Tensor, teacher: Tensor, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        ours, theirs = (_over_places(each, inputs) for each in (student, teacher))
        return -(F.softmax(theirs) * F.log_softmax(ours)).sum(-1).mean()
