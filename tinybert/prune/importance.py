"""First-order importance of the weights of an encoder's layers, accumulated over batches, and its file format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn

from tinybert import storage
from tinybert.errors import UserError
from tinybert.models.trace import Inputs, Needs, layers_of, trace
from tinybert.models.weights import check_values_finite
from tinybert.objectives.objective import Loss
from tinybert.safetensors_file import read_safetensors, write_safetensors

MATRICES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "linear1", "linear2")
FOLDER, SCORES, FACTS = "importance_score", "taylor.safetensors", "taylor.json"


def matrices_of(model: nn.Layer) -> dict[str, Tensor]:
    """The six weight matrices of every layer, by `layers.<i>.<matrix>`, each `[in, out]`."""
    inside = {name: layer for name, layer in layers_of(model).named_sublayers() if name.partition(".")[2] in MATRICES}
    return {f"layers.{name}": layer.weight for name, layer in inside.items()}


class GradientSums:
    """Sums of |gradient| over backward passes, elementwise, for the matrices of `matrices_of`; a `Stateful`.

    Source: ROSITA (Liu et al. 2021); llyx97/Rosita, its fine-tuning script with `--compute_taylor`: the sum of the absolute gradients of
    single micro-batches, not the absolute value of their sum.
    """

    def __init__(self, model: nn.Layer) -> None:
        self.matrices = matrices_of(model)
        self.sums = {name: paddle.zeros_like(weight) for name, weight in self.matrices.items()}

    @paddle.no_grad()
    def add(self) -> None:
        """Add the gradients of the last backward pass."""
        for name, weight in self.matrices.items():
            if weight.grad is not None:  # an objective may not use the last layer
                paddle.assign(self.sums[name] + weight.grad.abs(), self.sums[name])

    def scores(self) -> dict[str, np.ndarray]:
        """Importance |(sum of |gradient|) * weight|, float32 `[in, out]` by matrix."""
        return {name: np.abs(self.sums[name].numpy() * weight.numpy()) for name, weight in self.matrices.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums by name."""
        return {name: value.numpy() for name, value in self.sums.items()}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the result of `arrays`."""
        self.sums = {name: paddle.to_tensor(arrays[name]) for name in self.sums}


def task_loss_gradients(model: nn.Layer, inputs: Inputs, task_loss: Loss, head: str | None = None) -> float:
    """Backpropagate the mean task loss of one micro-batch into the model; returns that loss. head: as in `trace`."""
    loss = task_loss(trace(model, inputs, Needs(logits=True), head), None, inputs)
    loss.backward()
    return float(loss)


def write_importance(folder: Path, scores: dict[str, np.ndarray], facts: dict) -> None:
    """Write the scores and a description of how they were computed to `folder`/importance_score atomically.

    Raises:
        UserError: a score is NaN or infinite.
    """
    for name, array in scores.items():
        check_values_finite(name, array, f"importance scores of {facts['model']['source']}")
    with storage.new_folder(folder / FOLDER, replace=True) as temporary:
        write_safetensors(temporary / SCORES, scores)
        storage.write_json(temporary / FACTS, facts)


def read_importance(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The scores by matrix and the description, from a folder written by `write_importance`.

    Raises:
        UserError: one of the two files is missing or damaged, or a score is NaN or infinite.
    """
    try:
        storage.verify(folder)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8-sig"))
    except (storage.DamagedError, OSError, ValueError) as error:
        raise UserError(f"{folder} contains no complete importance scores: {error}.\nCompute them again with --compute_taylor.") from None
    scores = read_safetensors(folder / SCORES)
    for name, array in scores.items():
        check_values_finite(name, array, folder / SCORES)
    return scores, facts
