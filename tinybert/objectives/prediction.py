"""The student's logits compared with the teacher's."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class SoftTargetLoss(Loss):
    """Base class of losses that compare softened logits.

    Args:
        temperature: values above 1 flatten both distributions; below about 0.1 the softmax saturates and gradients vanish.
        reduction: over the classes, `sum` (per-example cross-entropy) or `mean` (Huawei: 1 / C of it), for losses that have both.
        scale: multiply by T^2, so that the size of gradients does not depend on T (Hinton et al. 2015).
    """

    needs_student = needs_teacher = Needs(logits=True)

    def __init__(self, temperature: float = 1.0, reduction: str = "sum", scale: bool = True) -> None:
        super().__init__()
        self.temperature, self.reduction, self.scale = temperature, reduction, scale

    def softened(self, student: Tensor, teacher: Tensor, inputs: Inputs) -> Tensor:
        """The loss of logits already divided by the temperature, a scalar."""
        raise NotImplementedError

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The mean over rows, or over the unit of the loss, a scalar."""
        ours, theirs = (each.logits.astype("float32") / self.temperature for each in (student, teacher))
        loss = self.softened(ours, theirs, inputs)
        return loss * self.temperature**2 if self.scale else loss


class SoftCrossEntropyLoss(SoftTargetLoss):
    """Cross-entropy of the student's softened distribution under the teacher's: - softmax(z_T / T) . log softmax(z_S / T).

    | inputs | labels |
    |---|---|
    | logits of both traces, C > 1 | none |

    Relations: for one output (regression) use `RegressionLoss`: with C = 1 this loss is identically 0.

    Source: TinyBERT (Jiao et al. 2020), equation 10.
    """

    def softened(self, student: Tensor, teacher: Tensor, inputs: Inputs) -> Tensor:
        """Mean over rows (and over classes for `mean`), a scalar."""
        products = -(F.softmax(teacher, axis=-1) * F.log_softmax(student, axis=-1))
        return products.mean() if self.reduction == "mean" else products.sum(-1).mean()


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
