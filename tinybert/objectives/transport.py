"""All layers of the student against all layers of its teacher, matched by optimal transport."""

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
    """sum_ij F_ij D_ij, where D_ij is how far student layer i is from teacher layer j and F the cheapest flow between the layer weights.

    F is a constant for the gradient. It comes from the costs of the micro-batch, averaged over all processes, and from the weights that
    the step began with. Only in training mode do costs count towards the next weights.

    Subclasses say what is compared: `AttentionTransportLoss`, `HiddenTransportLoss`.

    Source: BERT-EMD (Li et al. 2020); lxk00/BERT-EMD, bert_emd/emd_task_distill.py.
    """

    kind: str

    def __init__(self, layers: tuple[int, int], weights: LayerWeights) -> None:
        super().__init__()
        self.layers = layers
        self.weights = weights

    def _distances(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> LayerDistances:
        """Between the layers of both traces, of what counts."""
        raise NotImplementedError

    def costs(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> np.ndarray:
        """D, float64 `[S, N]`: means over this micro-batch."""
        return self._distances(student, teacher, inputs).means()

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The mean over this micro-batch, a scalar."""
        distances = self._distances(student, teacher, inputs)
        cost = distances.means()
        flow = self.weights.flow(self.kind, cost, float(inputs.share[self.unit]), keep=self.training)
        return distances.transported(flow, float((flow * cost).sum()))


def _real(inputs: Inputs, reduction: str) -> np.ndarray | None:
    """Which tokens count, bool `[B, T]`; None where all do."""
    return inputs.attention_mask.numpy() > 0 if reduction == "masked" and inputs.padded else None


class HiddenTransportLoss(TransportLoss):
    """Transport between projected hidden states: student entries 1..S against teacher entries 1..N, the embedding left out.

    reduction: `masked` averages over real tokens, `mean` over every element, padding included (published).

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

    def _distances(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> LayerDistances:
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

    def _distances(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> LayerDistances:
        def prepared(scores: Tensor) -> Tensor:
            if self.reduction == "zeroed":
                scores = zero_masked(scores)
            return scores.mean(1, keepdim=True) if self.heads == "average" else scores

        ours, theirs = ([prepared(trace.scores[i]) for i in range(n)] for trace, n in zip((student, teacher), self.layers, strict=True))
        return LayerDistances(ours, theirs, _real(inputs, self.reduction))
