"""The student's logits compared with the labels."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class GoldLabelLoss(Loss):
    """Cross-entropy with the gold class.

    | inputs | labels |
    |---|---|
    | logits `[B, C]` of the student | int64 `[B]` classes |

    Relations: the only loss in fine-tuning; with weight 1 - alpha in addition to a teacher's loss it is hard-label mixing.

    Source: BERT (Devlin et al. 2019), fine-tuning; combined with a teacher's loss: Hinton et al. 2015, section 2.
    """

    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        return F.cross_entropy(student.logits.astype("float32"), inputs.labels)


class GoldScoreLoss(Loss):
    """Mean squared error with respect to the gold score.

    | inputs | labels |
    |---|---|
    | logits `[B, 1]` of the student | float32 `[B]` scores |

    Relations: `GoldLabelLoss` for classes; `RegressionLoss` uses the teacher's score instead.

    Source: BERT (Devlin et al. 2019), its code for STS-B.
    """

    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        return F.mse_loss(student.logits.astype("float32").squeeze(-1), inputs.labels.astype("float32"))
