"""Objectives as weighted sums of named losses."""

from __future__ import annotations

from dataclasses import dataclass

from paddle import Tensor, nn

from tinybert.models.projections import Projection
from tinybert.models.trace import EncoderTrace, Inputs, Needs


class Loss(nn.Layer):
    """One term of an objective.

    `unit` is what its local mean is over: "rows", "tokens" (without padding) or "token_pairs". `needs_student` and `needs_teacher` are
    the parts of the traces it reads; nothing else is computed. `needs_labels`: whether it reads gold labels.
    """

    unit: str = "rows"
    needs_labels: bool = False
    needs_student: Needs = Needs()
    needs_teacher: Needs = Needs()

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """The local mean over this micro-batch, a scalar."""
        raise NotImplementedError


class SummedLoss(Loss):
    """The sum of several terms, such as one for each pair of layers."""

    def terms(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> list[Tensor]:
        """The terms, scalars."""
        raise NotImplementedError

    def forward(self, student: EncoderTrace, teacher: EncoderTrace, inputs: Inputs) -> Tensor:
        """The sum of the terms, a scalar."""
        return sum(self.terms(student, teacher, inputs))


@dataclass(frozen=True)
class Part:
    """A loss with its name in logs and its weight in the sum."""

    name: str
    loss: Loss
    weight: float = 1.0


class Objective(nn.Layer):
    """A weighted sum of named losses, and their shared projection.

    Each term is multiplied by the micro-batch's share of the whole optimizer step, so that the sum over micro-batches and ranks is the
    mean over the global batch, however it is split.

    | inputs | labels |
    |---|---|
    | traces of student and teacher | none, or the gold labels if a gold term is included |
    """

    def __init__(self, parts: list[Part], projection: Projection | None = None) -> None:
        super().__init__()
        self.parts = [part for part in parts if part.weight != 0]
        self.projection = projection  # before the losses that share it, so that its weights get its name
        self.losses = nn.LayerList([part.loss for part in self.parts])

    @property
    def needs_student(self) -> Needs:
        """What the student's trace must contain."""
        return _union(part.loss.needs_student for part in self.parts)

    @property
    def needs_teacher(self) -> Needs:
        """What the teacher's trace must contain; empty if no term uses the teacher."""
        return _union(part.loss.needs_teacher for part in self.parts)

    @property
    def needs_labels(self) -> bool:
        """Whether a term reads gold labels."""
        return any(part.loss.needs_labels for part in self.parts)

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> dict[str, Tensor]:
        """The unweighted terms by name and their weighted sum `loss`, all scalars multiplied by the batch's share."""
        values = {part.name: part.loss(student, teacher, inputs) * inputs.share[part.loss.unit] for part in self.parts}
        total = sum(part.weight * values[part.name] for part in self.parts)
        return {**values, "loss": total}

    def describe(self) -> str:
        """The sum as one line, such as `loss = 1 embd + 1 hidn + 1 attn`."""
        return "loss = " + " + ".join(f"{part.weight:g} {part.name}" for part in self.parts)


def _union(needs) -> Needs:
    result = Needs()
    for each in needs:
        result = result | each
    return result
