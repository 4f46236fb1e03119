"""Selects a part of the teacher's hidden states: layers, positions, hidden dimensions.

Source: "Marginal Utility Diminishes" (Liu et al. 2021), sections on depth, length and width; llyx97/Marginal-Utility-Diminishes, main.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor

from tinybert.models.trace import EncoderTrace, Inputs, Needs, Selected


@dataclass(frozen=True)
class TokenSelection:
    """Selects positions of each row; padding is never selected.

    scheme: `none` all; `left_first` the first `keep`; `attention` the `keep` positions that get most attention from [CLS] in a teacher
    layer, by scores before softmax, averaged over heads; `attention_no_sep` the same without the row's separators (`sep_id`).
    Rows with fewer candidates keep them all.
    """

    scheme: str = "none"
    keep: int | None = None
    sep_id: int | None = None

    @property
    def reads_scores(self) -> bool:
        """Whether the selection depends on the teacher's attention."""
        return self.scheme in ("attention", "attention_no_sep")

    def counts(self, lengths: np.ndarray, separators: np.ndarray) -> np.ndarray:
        """The number of selected positions for rows with these lengths and numbers of separators, int64 `[B]`."""
        available = lengths - separators if self.scheme == "attention_no_sep" else lengths
        return np.minimum(available, self.keep) if self.scheme != "none" else available

    def choose(self, scores: Tensor | None, inputs: Inputs) -> tuple[Tensor | None, Tensor]:
        """`positions` and `real` as in `Selected`; scores: `[B, h, T, T]` of the deciding teacher layer."""
        mask = inputs.attention_mask
        if self.scheme == "none":
            return None, mask
        rows, width = mask.shape
        keep = min(self.keep, width)
        if self.scheme == "left_first":
            return paddle.arange(keep).unsqueeze(0).expand([rows, keep]), mask[:, :keep]
        free = mask
        if self.scheme == "attention_no_sep":
            free = mask * (inputs.input_ids != self.sep_id).astype(mask.dtype)
        attention = scores[:, :, 0].astype("float32").mean(1)  # attention of [CLS] to each position
        ranked = paddle.where(free > 0, attention, paddle.full_like(attention, -1e9))
        positions = paddle.topk(ranked, keep, axis=-1)[1]
        ranks = paddle.arange(keep, dtype=mask.dtype).unsqueeze(0)
        return positions, (ranks < free.sum(1, keepdim=True)).astype(mask.dtype)


@dataclass(frozen=True)
class DimensionSelection:
    """Selects hidden dimensions.

    scheme: `none` all; `rand_mask` and `uniform_mask` the dimensions `dims`, the same for every position; `importance_mask_dynamic` the
    share `keep` of values with the largest magnitude. over: compared within an `example`, so that the selection of a row depends only on
    that row, or within a `batch` (published; includes padding).
    """

    scheme: str = "none"
    keep: float = 1.0
    dims: tuple[int, ...] = ()
    over: str = "example"

    @property
    def dynamic(self) -> bool:
        """Whether the selection depends on the teacher's values."""
        return self.scheme == "importance_mask_dynamic"

    def counts(self, positions: np.ndarray, width: int) -> np.ndarray:
        """The number of selected values for rows with these numbers of selected positions, int64 `[B]`."""
        if not self.dynamic:
            return positions * (width if self.scheme == "none" else len(self.dims))
        return np.maximum(1, (self.keep * positions * width + 1e-9).astype(np.int64))

    def choose(self, values: Tensor, real: Tensor) -> Tensor | None:
        """`kept` as in `Selected`, for `values` `[B, K, D]`, of which `real` `[B, K]` were selected."""
        if self.scheme == "none":
            return None
        width = values.shape[-1]
        if not self.dynamic:
            mask = np.zeros(width, np.float32)
            mask[list(self.dims)] = 1.0
            return paddle.to_tensor(mask)
        size = np.abs(values.numpy())
        if self.over == "batch":
            kept = max(1, int(self.keep * size.size))
            threshold = np.partition(size.ravel(), -kept)[-kept]
            return paddle.to_tensor((size >= threshold).astype(np.float32))
        there = real.numpy() > 0
        mask = np.zeros(size.shape, np.float32)
        for row, kept in enumerate(self.counts(there.sum(1), width)):
            own = size[row][there[row]].ravel()
            chosen = np.zeros(own.size, np.float32)
            chosen[np.argpartition(own, -kept)[-kept:]] = 1.0
            mask[row][there[row]] = chosen.reshape(-1, width)
        return paddle.to_tensor(mask)


def random_dims(width: int, keep: float, seed: int) -> tuple[int, ...]:
    """Each of `width` dimensions with probability `keep`, at least one.

    Source: "Marginal Utility Diminishes" (Liu et al. 2021), width compression; `rand_mask` of its code, which may draw none.
    """
    drawn = np.random.default_rng(seed).random(width)
    chosen = np.flatnonzero(drawn < keep)
    return tuple(map(int, chosen)) if len(chosen) else (int(drawn.argmin()),)


def uniform_dims(width: int, keep: float) -> tuple[int, ...]:
    """Dimensions round(i / keep) for i < int(width * keep), half to even.

    Source: "Marginal Utility Diminishes" (Liu et al. 2021), width compression; `uniform_mask` of its code.
    """
    return tuple(round(i / keep) for i in range(int(width * keep)))


@dataclass(frozen=True)
class Selection:
    """What each selected entry of a student learns from the teacher.

    pairs: (student entry, teacher entry). attention: the teacher's 0-based layer whose scores select the positions of each pair.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    attention: tuple[int, ...] = ()
    tokens: TokenSelection = TokenSelection()
    width: DimensionSelection = DimensionSelection()

    @property
    def reduces(self) -> bool:
        """Whether anything of the pairs' hidden states is omitted."""
        return self.tokens.scheme != "none" or self.width.scheme != "none"

    @property
    def needs(self) -> Needs:
        """What a trace of the teacher must contain for it."""
        scores = frozenset(self.attention) if self.tokens.reads_scores else frozenset()
        return Needs(hidden=frozenset(t for _, t in self.pairs), scores=scores)

    def of(self, teacher: EncoderTrace, inputs: Inputs) -> dict[int, Selected]:
        """The selected part of a teacher's trace, by student entry."""
        found = {}
        for (s, t), layer in zip(self.pairs, self.attention, strict=True):
            positions, real = self.tokens.choose(teacher.scores.get(layer), inputs)
            values = at_positions(teacher.hidden[t], positions).astype("float32")
            found[s] = Selected(values, positions, real, self.width.choose(values, real))
        return found


def at_positions(states: Tensor, positions: Tensor | None) -> Tensor:
    """The rows `[B, K, D]` of `states` `[B, T, D]` at `positions` `[B, K]`; all if None."""
    if positions is None:
        return states
    rows, width, dims = states.shape
    flat = positions + paddle.arange(rows).unsqueeze(1) * width
    return paddle.gather(states.reshape([rows * width, dims]), flat.reshape([-1])).reshape([rows, positions.shape[1], dims])


def deciding_layers(pairs: tuple[tuple[int, int], ...], student_layers: int, teacher_layers: int, published: bool) -> tuple[int, ...]:
    """The teacher layer (0-based) for each pair whose attention selects positions.

    It is the layer that outputs the teacher entry, the first layer for the embedding; published: the last `len(pairs)` of 0 and the layers
    that end each of S equal blocks of the teacher, regardless of the pairs (`att_ttop12`).
    """
    if not published:
        return tuple(max(t - 1, 0) for _, t in pairs)
    ends = [round(i * teacher_layers / student_layers) - 1 for i in range(1, student_layers + 1)]
    return tuple([0, *ends][-len(pairs) :])
