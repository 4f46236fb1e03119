"""All student layers compared with all teacher layers, matched by optimal transport."""

from __future__ import annotations

import numpy as np
from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.attention import zero_masked
from tinybert.objectives.layer_distances import LayerDistances
from tinybert.objectives.layer_weights import LayerWeights
from tinybert.objectives.objective import Loss


class TransportLoss(Loss):
    """sum_ij F_ij D_ij, where D_ij is the distance of student layer i and teacher layer j, and F the optimal flow between layer weights.

    F is constant for the gradient. It is computed from the costs of the micro-batch, averaged over all processes, and the weights at
    the start of the step. Costs are only used for updating weights in training mode.

    Subclasses define what is compared: `AttentionTransportLoss`, `HiddenTransportLoss`.

    Source: BERT-EMD (Li et al. 2020); lxk00/BERT-EMD, bert_emd/emd_task_distill.py.
    """

    kind: str

    def __init__(self, layers: tuple[int, int], weights: LayerWeights) -> None:
        super().__init__()
        self.layers = layers
        self.weights = weights

    def distances(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> LayerDistances:
        """Distances between the layers of both traces, without excluded tokens."""
        raise NotImplementedError

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The mean over this micro-batch, a scalar."""
        found = self.distances(student, teacher, inputs)
        cost = found.means()
        flow = self.weights.flow(self.kind, cost, float(inputs.share[self.unit]), keep=self.training)
        return found.transported(flow, float((flow * cost).sum()))


def _real(inputs: Inputs, reduction: str) -> np.ndarray | None:
    """The tokens to compare, bool `[B, T]`; None for all."""
    return inputs.attention_mask.numpy() > 0 if reduction == "masked" and inputs.padded else None


class HiddenTransportLoss(TransportLoss):
    """Transport between projected hidden states: student entries 1..S and teacher entries 1..N, without the embedding.

    reduction: `masked` averages over tokens without padding, `mean` over all elements including padding (published).

    | inputs | labels |
    |---|---|
    | hidden states of both traces | none |

    Relations: `HiddenStateLoss` compares the pairs of a fixed layer map.
    """

    kind = "hidn"

    def __init__(self, layers: tuple[int, int], weights: LayerWeights, projection: Projection, reduction: str = "masked") -> None:
        super().__init__(layers, weights)
        self.projection = projection
        self.reduction = reduction
        self.unit = "tokens" if reduction == "masked" else "rows"
        self.needs_student = Needs(hidden=frozenset(range(1, layers[0] + 1)))
        self.needs_teacher = Needs(hidden=frozenset(range(1, layers[1] + 1)))

    def distances(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> LayerDistances:
        student_layers, teacher_layers = self.layers
        ours = [self.projection(i, student.hidden[i]) for i in range(1, student_layers + 1)]
        return LayerDistances(ours, [teacher.hidden[j] for j in range(1, teacher_layers + 1)], _real(inputs, self.reduction))


class AttentionTransportLoss(TransportLoss):
    """Transport between attention scores before softmax.

    Args:
        reduction: `masked`, `zeroed` or `raw`, as in `AttentionScoreLoss`; BERT-EMD's is `zeroed`.
        heads: `match` compares head by head; `average` compares the means over heads, for different head counts.

    | inputs | labels |
    |---|---|
    | scores of both traces | none |

    Relations: `AttentionScoreLoss` compares the pairs of a fixed layer map.
    """

    kind = "attn"

    def __init__(self, layers: tuple[int, int], weights: LayerWeights, reduction: str = "masked", heads: str = "match") -> None:
        super().__init__(layers, weights)
        self.reduction = reduction
        self.heads = heads
        self.unit = "token_pairs" if reduction == "masked" else "rows"
        self.needs_student = Needs(scores=frozenset(range(layers[0])))
        self.needs_teacher = Needs(scores=frozenset(range(layers[1])))

    def distances(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> LayerDistances:
        def prepared(scores: Tensor) -> Tensor:
            if self.reduction == "zeroed":
                scores = zero_masked(scores)
            return scores.mean(1, keepdim=True) if self.heads == "average" else scores

        ours, theirs = ([prepared(trace.scores[i]) for i in range(n)] for trace, n in zip((student, teacher), self.layers, strict=True))
        return LayerDistances(ours, theirs, _real(inputs, self.reduction))
