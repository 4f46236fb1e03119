"""A regular model folder, run by PaddleNLP's classes as in training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinybert import runtime
from tinybert.deploy.libraries import titled
from tinybert.errors import UserError

if TYPE_CHECKING:
    from tinybert.models.loading import LoadedModel


class Dygraph:
    """A PaddleNLP model with the project's own forward pass."""

    batch_dependent = False
    precision = "float32"

    def __init__(self, loaded: LoadedModel) -> None:
        from tinybert.models.trace import Inputs, Needs, trace

        self.name = f"{titled('paddlepaddle')} dygraph"
        self._trace, self._inputs, self._needs = trace, Inputs, Needs(logits=True)
        self.model, self.pad_id = loaded.model, loaded.tokenizer.pad_id
        self.model.eval()

    def logits(self, input_ids: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
        """See `Engine`."""
        import paddle

        real = input_ids != self.pad_id
        tensors = (paddle.to_tensor(array) for array in (input_ids, token_type_ids, real.astype(np.float32)))
        with paddle.no_grad():
            return self._trace(self.model, self._inputs(*tensors, padded=not real.all()), self._needs).logits.astype("float32").numpy()


def open_engine(folder: Path, record: dict | None, threads: int) -> Dygraph:
    """Load a model folder.

    Raises:
        UserError: no model, or one without a trained head.
    """
    runtime.prepare(threads)
    from tinybert.models.loading import load_pretrained

    return of_model(load_pretrained(str(folder))[0])


def of_model(loaded: LoadedModel) -> Dygraph:
    """The engine of a loaded model.

    Raises:
        UserError: it has no trained head.
    """
    from tinybert.models.exporting import has_head

    if not has_head(loaded):
        raise UserError(f"{loaded.report.source} has no trained classifier.\nFine-tune or distil it for a task first.")
    return Dygraph(loaded)
