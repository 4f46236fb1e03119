"""The layer that is passed to the optimizer and `paddle.DataParallel`."""

from __future__ import annotations

from collections.abc import Callable

import paddle
from paddle import Tensor, nn

from tinybert.models.trace import EncoderTrace, Inputs, Needs, base_of, trace
from tinybert.objectives.objective import Objective


class TrainedLayer(nn.Layer):
    """Student and objective as one layer: maps a micro-batch and the teacher's trace to named loss terms.

    Calling the student directly would bypass `DataParallel` and leave gradients unsynchronised without an error, so training only uses
    this forward pass. The teacher is never wrapped.
    """

    def __init__(self, student: nn.Layer, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective

    def forward(self, inputs: Inputs, teacher: EncoderTrace | None = None) -> dict[str, Tensor]:
        """The loss terms of one micro-batch and their weighted sum `loss`, scalars."""
        student = trace(self.student, inputs, self.objective.needs_student)
        return self.objective(student, teacher, inputs)

    def freeze_unreached(self, inputs: Inputs, teacher: EncoderTrace | None) -> list[str]:
        """Freeze all parameters that get no gradient from the objective; returns their names.

        In the intermediate stage these are the pooler and the classifier. The published optimizers skip parameters without gradient, and
        `DataParallel` would wait for them. The trial pass runs in evaluation mode, so that nothing is learned from it, including layer
        weights.
        """
        training = self.training
        self.eval()
        self(inputs, teacher)["loss"].backward()
        if training:
            self.train()
        unreached = [name for name, parameter in self.named_parameters() if parameter.grad is None]
        for name, parameter in self.named_parameters():
            parameter.clear_gradient()
            parameter.stop_gradient = name in unreached
        return unreached

    def freeze_padding_row(self, place: Callable[[int], int] = int) -> None:
        """Keep the gradient of the [PAD] row of the word embeddings at zero, like PyTorch's padding_idx; weight decay still applies.

        place: maps a token id to its row in the table, if different.
        """
        base = base_of(self.student)
        row = place(int(base.config.pad_token_id))
        table = base.embeddings.word_embeddings.weight
        keep = paddle.ones([table.shape[0], 1], dtype=table.dtype)
        keep[row] = 0.0
        table.register_hook(lambda gradient: gradient * keep.astype(gradient.dtype))  # half precision with O2


class Teacher:
    """A frozen encoder that is traced for the student, by default in evaluation mode.

    mode: `eval` (recommended), or `train`: with dropout, as in the published scripts, which never call eval().
    head: `relu` adds a ReLU before the classifier (Huawei's class does so for every teacher); None = as it was fine-tuned.
    """

    def __init__(self, model: nn.Layer, needs: Needs, mode: str = "eval", head: str | None = None) -> None:
        self.model = model
        self.needs = needs
        self.head = head
        model.train() if mode == "train" else model.eval()
        for parameter in model.parameters():
            parameter.stop_gradient = True

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """The teacher's trace of a micro-batch, without gradients; None if the objective does not need it."""
        if not self.needs:
            return None
        with paddle.no_grad():
            return trace(self.model, inputs, self.needs, self.head)
