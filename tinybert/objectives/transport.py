"""All layers of the student against all layers of its teacher, matched by optimal transport."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor
from paddle.autograd import PyLayer

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.attention import zero_masked
from tinybert.objectives.layer_weights import LayerWeights
from tinybert.objectives.objective import Loss

CHUNK = 1 << 16  # elements of each layer that are compared at a time: all layers together stay in a CPU's cache
_TOO_CLOSE = 1e-9  # distances below this part of the squared lengths are computed directly


def squared_distances(students: list[Tensor], teachers: list[Tensor], chunk: int = CHUNK) -> np.ndarray:
    """|a_i - b_j|^2 of all pairs of `[M]` vectors, float64 `[S, N]`, reading every vector once.

    |a|^2 + |b|^2 - 2 a.b, in float64 and after the teachers' mean has been taken from both, so that what all share does not swallow
    the differences; pairs that are still too close for it are computed directly.
    """
    total: Tensor | float = 0.0
    lengths: Tensor | float = 0.0
    with paddle.no_grad(), paddle.amp.auto_cast(enable=False):
        for begin in range(0, int(students[0].shape[0]), chunk):
            a, b = (paddle.stack([x[begin : begin + chunk] for x in each]).astype("float64") for each in (students, teachers))
            centre = b.mean(0, keepdim=True)
            a, b = a - centre, b - centre
            both = (a * a).sum(1, keepdim=True) + (b * b).sum(1).unsqueeze(0)
            total = total + (both - 2.0 * paddle.matmul(a, b, transpose_y=True))
            lengths = lengths + both
        distances, lengths = total.numpy(), lengths.numpy()
        for i, j in zip(*np.nonzero(distances < _TOO_CLOSE * lengths), strict=True):
            difference = students[i].astype("float64") - teachers[j].astype("float64")
            distances[i, j] = float((difference * difference).sum())
    return distances


@dataclass(frozen=True)
class _Compared:
    """What is compared of a micro-batch: S vectors of the student and N of its teacher, one a layer, float32 `[M]` each.

    count: how many of the M elements count, the others being 0 in all of them; distances are divided by it.
    """

    students: list[Tensor]
    teachers: list[Tensor]
    count: float

    def costs(self) -> np.ndarray:
        """The mean squared difference of each pair of layers, float64 `[S, N]`."""
        return squared_distances(self.students, self.teachers) / self.count


@dataclass(frozen=True)
class _Plan:
    """A fixed flow between given teachers; `value` is the loss, `count` what the squares are divided by."""

    flow: np.ndarray
    teachers: list[Tensor]
    count: float
    value: float


class _Transport(PyLayer):
    """sum_ij F_ij |a_i - b_j|^2 / count for a fixed flow: a number that is already known, and its gradient for the students.

    2 / count * sum_j F_ij (a_i - b_j): at most S + N - 1 entries of an optimal flow are not 0, so this reads far less than S x N layers.
    """

    @staticmethod
    def forward(ctx, plan: _Plan, *students: Tensor) -> Tensor:
        gradients = []
        ctx.trained = [not each.stop_gradient for each in students]
        for a, row, trained in zip(students, plan.flow, ctx.trained, strict=True):
            gradient = None
            for j in np.nonzero(row)[0] if trained else ():
                pull = (a - plan.teachers[j]).scale_(2.0 * float(row[j]) / plan.count)
                gradient = pull if gradient is None else gradient.add_(pull)
            if trained:
                gradients.append(paddle.zeros_like(a) if gradient is None else gradient)
        ctx.save_for_backward(*gradients)
        return paddle.to_tensor(plan.value, dtype="float32")

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pulls = iter(ctx.saved_tensor())
        return tuple(next(pulls) * gradient if trained else None for trained in ctx.trained)


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

    def _compared(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> _Compared:
        """The layers of both traces as vectors of what counts."""
        raise NotImplementedError

    def costs(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> np.ndarray:
        """D, float64 `[S, N]`: means over this micro-batch."""
        return self._compared(student, teacher, inputs).costs()

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The mean over this micro-batch, a scalar."""
        compared = self._compared(student, teacher, inputs)
        cost = compared.costs()
        flow = self.weights.flow(self.kind, cost, float(inputs.share[self.unit]), keep=self.training)
        value = float((flow * cost).sum())
        if paddle.is_grad_enabled() and not all(each.stop_gradient for each in compared.students):
            return _Transport.apply(_Plan(flow, compared.teachers, compared.count, value), *compared.students)
        return paddle.to_tensor(value, dtype="float32")


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

    def _compared(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> _Compared:
        mask = inputs.attention_mask.numpy() > 0
        rows = paddle.to_tensor(np.nonzero(mask.ravel())[0]) if self.reduction == "masked" and not mask.all() else None

        def gathered(hidden: Tensor) -> Tensor:
            flat = hidden.reshape([-1, hidden.shape[-1]])
            return flat if rows is None else paddle.index_select(flat, rows)

        student_layers, teacher_layers = self.layers
        ours = [self.projection(i, gathered(student.hidden[i])).reshape([-1]).astype("float32") for i in range(1, student_layers + 1)]
        theirs = [gathered(teacher.hidden[j]).reshape([-1]).astype("float32") for j in range(1, teacher_layers + 1)]
        return _Compared(ours, theirs, float(theirs[0].shape[0]))


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

    def _compared(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> _Compared:
        heads = 1 if self.heads == "average" else int(student.scores[0].shape[1])
        real = _RealPairs(inputs.attention_mask.numpy() > 0, heads) if self.reduction == "masked" else None

        def prepared(scores: Tensor) -> Tensor:
            if self.reduction == "zeroed":
                scores = zero_masked(scores)
            if self.heads == "average":
                scores = scores.mean(1, keepdim=True)
            scores = scores if real is None else real.gathered(scores)
            return scores.reshape([-1]).astype("float32")

        ours, theirs = ([prepared(trace.scores[i]) for i in range(n)] for trace, n in zip((student, teacher), self.layers, strict=True))
        return _Compared(ours, theirs, real.count if real else float(theirs[0].shape[0]))


class _RealPairs:
    """Picks the scores between real tokens: queries are gathered, keys cut to the longest row and zeroed beyond each row's own."""

    def __init__(self, mask: np.ndarray, heads: int) -> None:
        self.count = float((mask.sum(1).astype(np.float64) ** 2).sum() * heads)
        self.width = int(np.nonzero(mask.any(0))[0][-1]) + 1
        mask = mask[:, : self.width]
        self.all = bool(mask.all())
        if not self.all:
            queries = np.repeat(mask[:, None, :], heads, 1)  # [B, h, W]
            rows = np.nonzero(queries.ravel())[0]
            self.rows = paddle.to_tensor(rows)
            self.keys = paddle.to_tensor(mask[rows // (heads * self.width)].astype("float32"))  # [queries, W]

    def gathered(self, scores: Tensor) -> Tensor:
        """`[B, h, T, T]` to `[queries, W]`, 0 where the key is padding."""
        if scores.shape[-1] > self.width:
            scores = scores[:, :, : self.width, : self.width]
        scores = scores.reshape([-1, self.width])
        return scores if self.all else paddle.index_select(scores, self.rows) * self.keys.astype(scores.dtype)
