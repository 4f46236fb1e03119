"""Selected parts of the teacher's hidden states, as in "Marginal Utility Diminishes"."""

from __future__ import annotations

import numpy as np
from paddle import Tensor

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs, Selected
from tinybert.objectives.objective import SummedLoss
from tinybert.traces.selection import Selection, at_positions


class MaskStart:
    """Whether the first update is done: the published script applies its fixed width mask only afterwards. Saved in checkpoints."""

    name = "mask_start"

    def __init__(self) -> None:
        self.steps = 0

    def end_step(self) -> None:
        """Count one update."""
        self.steps += 1

    def observe(self) -> dict[str, np.ndarray]:
        """No arrays for the log."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """The number of updates, for a checkpoint."""
        return {"steps": np.array([self.steps])}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore it."""
        self.steps = int(arrays["steps"][0])


class SelectedHiddenLoss(SummedLoss):
    """Mean squared error between projected student states and the selected part of the teacher's, summed over the selected layers.

    Args:
        selection: which layers, positions and hidden dimensions; a trace with `selected` (read from a store) contains its own.
        projection: `[B, K, d] -> [B, K, D]`, trained with the student.
        mask: values that were not selected are excluded on `both` sides, or set to 0 only for the `teacher` (published), which pulls the
            student's values there towards 0.
        reduction: `masked` averages over the selection of each row, then over rows: all rows count equally and padding is excluded;
            `mean` (published) divides by all `[B, K, D]`, including padding and values that were not selected.
        start: if given, a mask over dimensions is only applied after the first update (published).

    | inputs | labels |
    |---|---|
    | hidden states of both traces; the teacher's scores if attention selects positions | none |

    Relations: with everything selected it equals `HiddenStateLoss`, except for averaging per row instead of per token.

    Source: "Marginal Utility Diminishes" (Liu et al. 2021); llyx97/Marginal-Utility-Diminishes, main.py.
    """

    unit = "rows"

    def __init__(
        self, selection: Selection, projection: Projection, mask: str = "both", reduction: str = "masked", start: MaskStart | None = None
    ) -> None:
        super().__init__()
        self.selection, self.projection, self.mask, self.reduction, self.start = selection, projection, mask, reduction, start
        self.needs_student = Needs(hidden=frozenset(s for s, _ in selection.pairs))
        self.needs_teacher = selection.needs

    def terms(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> list[Tensor]:
        """The loss of each selected layer, scalars in the order of the selection's pairs."""
        chosen = teacher.selected or self.selection.of(teacher, inputs)
        losses = []
        for s, _ in self.selection.pairs:
            projected = self.projection(s, at_positions(student.hidden[s], chosen[s].positions)).astype("float32")
            losses.append(self._compare(projected, chosen[s]))
        return losses

    def _compare(self, student: Tensor, chosen: Selected) -> Tensor:
        kept = chosen.kept
        if self.start is not None and self.training and not self.start.steps and kept is not None and kept.ndim == 1:
            kept = None
        target = chosen.values if kept is None else chosen.values * kept
        difference = student - target
        leave_out = kept is not None and self.mask == "both"
        if leave_out:
            difference = difference * kept
        squared = difference * difference
        if self.reduction == "mean":
            return squared.mean()
        real = chosen.real
        if not leave_out:
            counted = real.sum(1) * student.shape[-1]
        elif kept.ndim == 1:
            counted = real.sum(1) * kept.sum()
        else:
            counted = (kept.sum(-1) * real).sum(1)
        return ((squared.sum(-1) * real).sum(1) / counted.clip(min=1.0)).mean()
