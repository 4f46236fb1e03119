"""The student's logits compared with the teacher's."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class SoftCrossEntropyLoss(Loss):
    """Cross-entropy of the student's softened distribution under the teacher's: - softmax(z_T / T) . log softmax(z_S / T).

    Args:
        temperature: values above 1 flatten both distributions; below about 0.1 the softmax saturates and gradients vanish.
        reduction: over the classes, `sum` (per-example cross-entropy) or `mean` (Huawei: 1 / C of it); always averaged over rows.
        scale: multiply by T^2, so that the size of gradients does not depend on T (Hinton et al. 2015).

    | inputs | labels |
    |---|---|
    | logits of both traces, C > 1 | none |

    Relations: for one output (regression) use `RegressionLoss`: with C = 1 this loss is identically 0.

    Source: TinyBERT (Jiao et al. 2020), equation 10.
    """

    needs_student = Needs(logits=True)
    needs_teacher = Needs(logits=True)

    def __init__(self, temperature: float = 1.0, reduction: str = "sum", scale: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.reduction = reduction
        self.scale = scale

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """Mean over rows (and over classes for `mean`), a scalar."""
        target = F.softmax(teacher.logits.astype("float32") / self.temperature, axis=-1)
        log_prediction = F.log_softmax(student.logits.astype("float32") / self.temperature, axis=-1)
        products = -(target * log_prediction)
        loss = products.mean() if self.reduction == "mean" else products.sum(-1).mean()
        return loss * self.temperature**2 if self.scale else loss


class RegressionLoss(Loss):
    """Mean squared error between the student's score and the teacher's (one output).

    | inputs | labels |
    |---|---|
    | logits `[B, 1]` of both traces | none |

    Source: BERT-EMD (Li et al. 2020), its code for STS-B. Huawei's script learns from the gold score instead, see `GoldLabelLoss`.
    """

    needs_student = Needs(logits=True)
    needs_teacher = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """Mean over rows, a scalar."""
        return F.mse_loss(student.logits.astype("float32"), teacher.logits.astype("float32"))
