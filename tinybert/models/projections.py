"""Projections from the student's width to the teacher's, shared by all entries or one for each."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn

from tinybert.errors import UserError
from tinybert.models import cpu_ops


class Projection(nn.Layer):
    """Projects student hidden states `[..., d]` to the teacher's width `[..., D]`, entry by entry.

    * `shared`: one linear layer with bias for all entries (Huawei's `fit_dense`, PaddleNLP's checkpoints other than v2);
    * `per_layer`: one for each entry 0..S (`fit_denses.<entry>`, PaddleNLP's v2 checkpoints);
    * `none`: the unchanged student states; both widths must be equal.

    Raises:
        UserError: `none` for different widths.
    """

    def __init__(self, mode: str, student_layers: int, student_width: int, teacher_width: int, initializer_range: float = 0.02):
        super().__init__()
        if mode == "none" and student_width != teacher_width:
            raise UserError(
                f"the student has width {student_width} and the teacher {teacher_width}: their hidden states cannot be compared "
                "without a projection.\nUse --projection shared or per_layer, or a student with the teacher's width."
            )
        self.mode = mode
        self.width = (student_width, teacher_width)

        def linear() -> nn.Linear:
            weight = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, initializer_range))
            return nn.Linear(student_width, teacher_width, weight_attr=weight)

        if mode == "shared":
            self.fit_dense = linear()
        elif mode == "per_layer":
            self.fit_denses = nn.LayerList([linear() for _ in range(student_layers + 1)])

    def forward(self, entry: int, hidden: Tensor) -> Tensor:
        """Project the hidden states of one entry, `[..., d] -> [..., D]`."""
        if self.mode == "shared":
            return cpu_ops.linear(self.fit_dense, hidden)
        if self.mode == "per_layer":
            return cpu_ops.linear(self.fit_denses[entry], hidden)
        return hidden

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights with PaddleNLP's names without a prefix: `fit_dense.weight`, `fit_denses.0.weight`, ..."""
        return {name: value.numpy() for name, value in self.state_dict().items()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Load weights from a checkpoint, with names as in `arrays()`, or BERT-EMD's `share_fit_dense`.

        Raises:
            UserError: a weight is missing or has another shape.
        """
        for name, parameter in self.named_parameters():
            found = arrays.get(f"share_{name}", arrays.get(name))
            if found is None or list(found.shape) != list(parameter.shape):
                what = "is missing" if found is None else f"has shape {list(found.shape)}"
                raise UserError(
                    f"the projection weight {name} {what} in the student's checkpoint; expected shape {list(parameter.shape)}.\n"
                    "Leave --projection at auto, or choose the checkpoint's layout."
                )
            parameter.set_value(found)


def layouts_of(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """The projections in a checkpoint, the trained one first: `per_layer`, `shared`, both, or none.

    PaddleNLP's class creates both kinds (`fit_denses`, `fit_dense`) and its script trains the per-layer ones. BERT-EMD's class also has
    both, calls the shared one `share_fit_dense`, and trains it unless `--share_param False` is given.
    """
    per_layer = ("per_layer",) if any(name.startswith("fit_denses.") for name in arrays) else ()
    if any(name.startswith("share_fit_dense.") for name in arrays):
        return ("shared", *per_layer)
    return (*per_layer, "shared") if any(name.startswith("fit_dense.") for name in arrays) else per_layer


def width_of(arrays: dict[str, np.ndarray]) -> int | None:
    """The output width of the projections in a checkpoint, i.e. that of their teacher; None if it has none."""
    return next((int(array.shape[-1]) for name, array in sorted(arrays.items()) if name.endswith(".weight")), None)


def layout_of(arrays: dict[str, np.ndarray]) -> str | None:
    """The default projection of a checkpoint: the first of `layouts_of`, or None."""
    return next(iter(layouts_of(arrays)), None)
