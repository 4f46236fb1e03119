"""Losses written by a Python caller."""

from __future__ import annotations

from paddle import Tensor

from tinybert.errors import UserError
from tinybert.models.trace import EncoderTrace, Inputs, Needs
from tinybert.objectives.objective import Loss, Objective, Part
from tinybert.user_objects import CustomLoss, user_objects

UNITS = ("rows", "tokens", "token_pairs")
STAGES = ("intermediate", "prediction", "general")


class FunctionLoss(Loss):
    """A function, or an `nn.Layer` with its own weights, as a loss.

    | inputs | labels |
    |---|---|
    | what the function reads of both traces | `inputs.labels`, if it reads them |
    """

    def __init__(self, custom: CustomLoss) -> None:
        super().__init__()
        self.name, self.unit = custom.name, custom.unit
        self.needs_student, self.needs_teacher = (
            Needs(logits=True) if needs is None else needs for needs in (custom.student, custom.teacher)
        )
        self.function = custom.function

    def forward(self, student: EncoderTrace, teacher: EncoderTrace | None, inputs: Inputs) -> Tensor:
        """The result of the function, which must be a single number."""
        value = self.function(student, teacher, inputs)
        if not isinstance(value, Tensor) or value.size != 1:
            found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise UserError(f"the loss {self.name!r} returned {found}\nexpected a scalar tensor, the mean over {self.unit}")
        return value.reshape([])


def check_custom_loss(custom: CustomLoss) -> None:
    """Reject a loss that no stage could use.

    Raises:
        UserError: says what is wrong with it.
    """
    if not callable(custom.function):
        raise UserError(f"the loss {custom.name!r} got {custom.function!r} as its function\nexpected a callable")
    if custom.unit not in UNITS or custom.stage not in STAGES:
        what, known = (custom.unit, UNITS) if custom.unit not in UNITS else (custom.stage, STAGES)
        raise UserError(f"the loss {custom.name!r} got {what!r}\nexpected one of {', '.join(known)}")
    for needs in (custom.student, custom.teacher):
        if needs is not None and not isinstance(needs, Needs):
            raise UserError(f"the loss {custom.name!r} got {needs!r}\nexpected tb.Needs(...), the parts of a trace that it reads")


def with_custom_losses(objective: Objective, custom: list[CustomLoss]) -> Objective:
    """The objective with these terms added.

    Raises:
        UserError: two terms have the same name.
    """
    if not custom:
        return objective
    parts = [*objective.parts, *(Part(one.name, FunctionLoss(one), one.weight) for one in custom)]
    names = [part.name for part in parts]
    twice = next((name for name in names if names.count(name) > 1 or name == "loss"), None)
    if twice:
        raise UserError(f"two losses are named {twice!r}\nexpected distinct names")
    return Objective(parts, objective.projection)


def loss_identity(custom: list[CustomLoss]) -> dict[str, str]:
    """What a resumed run must have in common."""
    return {f"loss {one.name}": f"{one.weight:g}, {one.unit}" for one in custom}


def losses_of(stage: str) -> list[CustomLoss]:
    """Those passed to this run for a stage."""
    return [loss for loss in user_objects().losses if loss.stage == stage]
