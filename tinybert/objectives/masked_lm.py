"""The masked-LM loss: predict the original token at masked positions (Devlin et al. 2019)."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from tinybert.models.masked_lm import MaskedLMHead
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss


class MaskedLMLoss(Loss):
    """Cross-entropy over the whole vocabulary, averaged over the masked positions.

    layers: of the encoder; the head reads the last output. Micro-batches and processes are weighted by their tokens without padding, of
    which a fixed share is masked.

    | inputs | labels |
    |---|---|
    | the student's last layer `[B, T, D]` | int64 `[B, T]`, negative where there is nothing to predict |
    """

    unit = "tokens"

    def __init__(self, head: MaskedLMHead, layers: int) -> None:
        super().__init__()
        self.head, self.layers = head, layers
        self.needs_student = Needs(hidden=frozenset({layers}))

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """The mean over the masked positions, a scalar; 0 if there are none."""
        labels = inputs.labels.flatten()
        places = paddle.nonzero(labels >= 0).flatten()
        hidden = student.hidden[self.layers]
        hidden = hidden.reshape([-1, hidden.shape[-1]])
        if not len(places):
            return hidden.sum() * 0.0
        return F.cross_entropy(self.head(paddle.gather(hidden, places)), paddle.gather(labels, places))
