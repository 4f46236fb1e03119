"""The student's logits for every word compared with its tag or the teacher's logits."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.gold import WeightedLoss
from tinybert.objectives.prediction import SoftTargetLoss


def _mean_over_words(values: Tensor, labels: Tensor) -> Tensor:
    """The mean of `[B, T]` over the first tokens of words, a scalar."""
    real = (labels >= 0).astype("float32")
    return (values * real).sum() / real.sum().clip(min=1.0)


class WordGoldLoss(WeightedLoss):
    """Cross-entropy with the tag of each word, at its first token.

    | inputs | labels |
    |---|---|
    | logits `[B, T, C]` of the student | int64 `[B, T]`, negative where no word starts |

    Relations: `GoldLabelLoss` for one label per row.

    Source: BERT (Devlin et al. 2019), section 5.3 and its code for CoNLL-2003.
    """

    unit = "words"
    needs_labels = True
    needs_student = Needs(logits=True)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """Mean over words, a scalar."""
        labels = inputs.labels
        tags = labels.clip(min=0)
        values = F.cross_entropy(student.logits.astype("float32"), tags.unsqueeze(-1), reduction="none").squeeze(-1)
        if self.factors:
            values = values * self.factors[0].gather(tags.flatten()).reshape(tags.shape)
        return _mean_over_words(values, labels)


class WordSoftLoss(SoftTargetLoss):
    """Cross-entropy of each word's softened distribution under the teacher's: - softmax(z_T / T) . log softmax(z_S / T).

    | inputs | labels |
    |---|---|
    | logits `[B, T, C]` of both traces | int64 `[B, T]`, to find the first tokens of words |

    Relations: `SoftCrossEntropyLoss` for one distribution per row.
    """

    unit = "words"

    def softened(self, student: Tensor, teacher: Tensor, inputs: Inputs) -> Tensor:
        """Mean over words (and over tags for `mean`), a scalar."""
        products = -(F.softmax(teacher, axis=-1) * F.log_softmax(student, axis=-1))
        return _mean_over_words(products.mean(-1) if self.reduction == "mean" else products.sum(-1), inputs.labels)
