"""The student's logits against the gold labels."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class GoldLabelLoss(Loss):
    """Cross-entropy with the gold class, or mean squared error with the gold score where there is one output.

    | inputs | labels |
    |---|---|
    | logits `[B, C]` of the student | int64 `[B]` classes |
    | logits `[B, 1]` of the student | float32 `[B]` scores |

    Relations: fine-tuning is this loss alone; with a weight 1 - alpha beside a teacher's loss it is hard-label mixing.

    Source: BERT (Devlin et al. 2019), fine-tuning; beside a teacher's loss Hinton et al. 2015, section 2.
    """

    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        logits = student.logits.astype("float32")
        if logits.shape[-1] == 1:
            return F.mse_loss(logits.squeeze(-1), inputs.labels.astype("float32"))
        return F.cross_entropy(logits, inputs.labels)
