"""The student's logits compared with the labels."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class WeightedLoss(Loss):
    """Base class of losses with respect to gold labels that can have weights: factors whose mean over the training rows is 1.

    The weighted mean is over all rows, not divided by the weights of a batch, so that it does not depend on how a step is split.
    """

    def __init__(self) -> None:
        super().__init__()
        self.factors: tuple[Tensor, ...] = ()  # a tuple, because mixed precision would convert a buffer

    def weigh(self, factors: np.ndarray) -> None:
        """Use these factors, in the form of the kind's `label_weights`."""
        self.factors = (paddle.to_tensor(factors.astype("float32")),)


class GoldLabelLoss(WeightedLoss):
    """Cross-entropy with the gold class.

    | inputs | labels |
    |---|---|
    | logits `[B, C]` of the student | int64 `[B]` classes |

    Relations: the only loss in fine-tuning; with weight 1 - alpha in addition to a teacher's loss it is hard-label mixing.

    Source: BERT (Devlin et al. 2019), fine-tuning; combined with a teacher's loss: Hinton et al. 2015, section 2.
    """

    needs_labels = True
    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        logits = student.logits.astype("float32")
        if not self.factors:
            return F.cross_entropy(logits, inputs.labels)
        values = F.cross_entropy(logits, inputs.labels, reduction="none").squeeze(-1)
        return (values * self.factors[0].gather(inputs.labels)).mean()


class GoldScoreLoss(Loss):
    """Mean squared error with respect to the gold score.

    | inputs | labels |
    |---|---|
    | logits `[B, 1]` of the student | float32 `[B]` scores |

    Relations: `GoldLabelLoss` for classes; `RegressionLoss` uses the teacher's score instead.

    Source: BERT (Devlin et al. 2019), its code for STS-B.
    """

    needs_labels = True
    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        return F.mse_loss(student.logits.astype("float32").squeeze(-1), inputs.labels.astype("float32"))
