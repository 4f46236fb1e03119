"""Multi-label losses: binary cross-entropy of the student's logits with gold labels or a teacher's probabilities."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.gold import WeightedLoss
from tinybert.objectives.prediction import SoftTargetLoss


class BinaryGoldLoss(WeightedLoss):
    """Binary cross-entropy with gold labels of 0 and 1.

    | inputs | labels |
    |---|---|
    | logits `[B, C]` of the student | float32 `[B, C]`, 0 or 1 |

    Relations: `GoldLabelLoss` for a single label per row.

    Source: the loss of PaddleNLP and transformers for `problem_type` multi_label_classification.
    """

    needs_labels = True
    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over rows and labels, a scalar."""
        labels, weight = inputs.labels.astype("float32"), None
        if self.factors:
            present, absent = self.factors[0].unbind(axis=1)
            weight = labels * present + (1.0 - labels) * absent
        return F.binary_cross_entropy_with_logits(student.logits.astype("float32"), labels, weight)


class BinarySoftLoss(SoftTargetLoss):
    """Binary cross-entropy of sigmoid(z_S / T) with the teacher's sigmoid(z_T / T), averaged over rows and labels.

    | inputs | labels |
    |---|---|
    | logits `[B, C]` of both traces | none |

    Relations: `SoftCrossEntropyLoss` for mutually exclusive labels.
    """

    def softened(self, student: Tensor, teacher: Tensor, inputs: Inputs) -> Tensor:
        """Mean over rows and labels, a scalar."""
        return F.binary_cross_entropy_with_logits(student, F.sigmoid(teacher))
