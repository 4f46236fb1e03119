"""The one layer that the optimizer and `paddle.DataParallel` see."""

from __future__ import annotations

from collections.abc import Callable

import paddle
from paddle import Tensor, nn

from tinybert.models.trace import EncoderTrace, Inputs, Needs, base_of, trace
from tinybert.objectives.objective import Objective


class TrainedLayer(nn.Layer):
    """Student and objective as one layer: a micro-batch and the teacher's trace in, named loss parts out.

    Calling the student past a `DataParallel` wrapper would leave gradients unsynchronised without an error, so the forward pass of
    training goes through here alone. The teacher is never wrapped.
    """

    def __init__(self, student: nn.Layer, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective

    def forward(self, inputs: Inputs, teacher: EncoderTrace | None = None) -> dict[str, Tensor]:
        """The loss parts of one micro-batch and their weighted sum `loss`, scalars."""
        student = trace(self.student, inputs, self.objective.needs_student)
        return self.objective(student, teacher, inputs)

    def freeze_unreached(self, inputs: Inputs, teacher: EncoderTrace | None) -> list[str]:
        """Stop the gradient of every parameter that the objective does not reach; returns their names.

        In the intermediate stage these are the pooler and the classifier. The published optimizers leave a parameter without gradient
        alone, and `DataParallel` would wait for it. The trial pass is made in evaluation mode: nothing is to be learnt from it, nor by
        layer weights.
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
        """Keep the gradient of the [PAD] row of the word embeddings at zero, as PyTorch's padding_idx does; decay still acts on it.

        place: where a word piece stands in the table, if not at its id.
        """
        base = base_of(self.student)
        row = place(int(base.config.pad_token_id))
        table = base.embeddings.word_embeddings.weight
        keep = paddle.ones([table.shape[0], 1], dtype=table.dtype)
        keep[row] = 0.0
        table.register_hook(lambda gradient: gradient * keep)


class Teacher:
    """A frozen encoder that is traced for the student, in evaluation mode unless told otherwise.

    mode: `eval` (sound), or `train`: dropout active, as in the published scripts, which never call eval().
    head: `relu` puts a ReLU before the classifier (Huawei's class does so to every teacher); None = as it was fine-tuned.
    """

    def __init__(self, model: nn.Layer, needs: Needs, mode: str = "eval", head: str | None = None) -> None:
        self.model = model
        self.needs = needs
        self.head = head
        model.train() if mode == "train" else model.eval()
        for parameter in model.parameters():
            parameter.stop_gradient = True

    def __call__(self, inputs: Inputs) -> EncoderTrace | None:
        """The teacher's trace of a micro-batch, without gradients; None where the objective does not need it."""
        if not self.needs:
            return None
        with paddle.no_grad():
            return trace(self.model, inputs, self.needs, self.head)
