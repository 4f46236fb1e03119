"""A BERT with its masked-LM head: the most probable word pieces at one position of each row, and nothing computed beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F

from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.limits import max_positions
from tinybert.models.loading import LoadedModel, LoadReport, ModelFolder, read_folder
from tinybert.models.trace import Inputs, Needs, base_of, trace

_HEAD = "cls.predictions."
_PARTS = ("transform.weight", "transform.bias", "layer_norm.weight", "layer_norm.bias")
_POSITIONS = 256  # scored against the whole vocabulary at a time: 30 MB for 30,000 pieces
_DECODER, _BIAS = ("decoder.weight", "decoder_weight"), ("decoder_bias", "decoder.bias")  # PaddleNLP 3 and 2


@dataclass
class MaskedLM:
    """An encoder in evaluation mode and the parameters of its head: `transform`, `norm`, `decoder` `[V, D]` and its `bias` `[V]`."""

    loaded: LoadedModel
    head: dict[str, paddle.Tensor]
    report: str

    @property
    def tokenizer(self) -> WordPiece:
        """The tokenizer of the model's folder."""
        return self.loaded.tokenizer

    @property
    def positions(self) -> int:
        """The longest row the model can read."""
        return max_positions(self.loaded)

    def hidden(self, ids: np.ndarray, segments: np.ndarray, rows: np.ndarray, at: np.ndarray) -> paddle.Tensor:
        """The last layer's outputs at positions `at` of `rows` (both `[P]`) of `ids` `[B, T]`, which has no padding: `[P, D]`.

        With as many positions in every row, in order, that layer is finished there alone.
        """
        layers = int(self.loaded.config.num_hidden_layers)
        inputs = Inputs(paddle.to_tensor(ids), paddle.to_tensor(segments), paddle.ones(ids.shape, "float32"))
        needs = Needs(hidden=frozenset({layers}))
        with paddle.no_grad():
            each = len(rows) // len(ids)
            if np.array_equal(rows, np.repeat(np.arange(len(ids)), each)):
                some = trace(self.loaded.model, inputs, needs, at=paddle.to_tensor(at.reshape(-1, each))).hidden[layers]
                return some.reshape([-1, some.shape[-1]])
            whole = trace(self.loaded.model, inputs, needs).hidden[layers]
            return paddle.gather(whole.reshape([-1, whole.shape[-1]]), paddle.to_tensor(rows * ids.shape[1] + at))

    def logits(self, hidden: paddle.Tensor) -> paddle.Tensor:
        """What the head says of outputs of the last layer, `[P, D] -> [P, V]`."""
        with paddle.no_grad():
            x = getattr(F, self.loaded.config.hidden_act)(F.linear(hidden, self.head["transform.weight"], self.head["transform.bias"]))
            norm = self.head["layer_norm.weight"], self.head["layer_norm.bias"]
            x = F.layer_norm(x, x.shape[-1:], *norm, epsilon=float(self.loaded.config.layer_norm_eps))
            return paddle.matmul(x, self.head["decoder"], transpose_y=True) + self.head["bias"]

    def top(self, hidden: paddle.Tensor, count: int) -> np.ndarray:
        """The `count` best word pieces at each position `[P, D]`, the best first: int32 `[P, count]`."""
        best = []
        for begin in range(0, hidden.shape[0], _POSITIONS):
            logits = self.logits(hidden[begin : begin + _POSITIONS])
            best.append(paddle.topk(logits, min(count, logits.shape[-1]))[1].numpy().astype(np.int32))
        return np.concatenate(best)


def load_masked_lm(path: str, do_lower_case: bool | None = None) -> MaskedLM:
    """Load a BERT with its masked-LM head from a folder (PaddleNLP's or Hugging Face's layout), or by name.

    A head without a decoder of its own uses the word embedding, as BERT ties them.

    Raises:
        UserError: as `load_classifier`; no head, a head with parts missing or of another shape, or a vocabulary without a mask.
    """
    role = "masked-LM model"
    found = read_folder(path, role)
    arrays = {name.removeprefix(_HEAD): array for name, array in found.arrays.items() if name.startswith(_HEAD)}
    if not arrays:
        raise UserError(
            f"the {role} {found.folder} has no masked-LM head (cls.predictions.*): it cannot say which word fits into a gap.\n"
            "Give a BERT as it was pre-trained, such as bert-base-uncased; sentence encoders and fine-tuned classifiers have none."
        )
    loaded = found.filled(None, None, do_lower_case, role)
    loaded.model.eval()
    if loaded.tokenizer.mask_id is None:
        raise UserError(f"{found.folder}/vocab.txt has no {loaded.tokenizer.special['mask']}: the {role} needs one to mark the gap.")
    head = _head(arrays, found, loaded)
    report = LoadReport(loaded.report.source, loaded.report.loaded + [f"{_HEAD}{name}" for name in head])
    return MaskedLM(loaded, head, str(report))


def _head(arrays: dict[str, np.ndarray], found: ModelFolder, loaded: LoadedModel) -> dict[str, paddle.Tensor]:
    embedding = base_of(loaded.model).embeddings.word_embeddings.weight
    rows, width = embedding.shape
    decoder = next((arrays[name] for name in _DECODER if name in arrays), None)
    if decoder is not None and list(decoder.shape) == [width, rows]:
        decoder = decoder.T
    parts = {name: arrays.get(name) for name in _PARTS}
    parts["bias"] = next((arrays[name] for name in _BIAS if name in arrays), None)
    shapes = {name: [width, width] if name == "transform.weight" else [width] for name in _PARTS} | {"bias": [rows]}
    if decoder is not None:
        parts["decoder"], shapes["decoder"] = decoder, [rows, width]
    for name, array in parts.items():
        if array is None or list(array.shape) != shapes[name]:
            has = "is missing" if array is None else f"has shape {list(array.shape)}"
            raise UserError(
                f"{Path(found.file)}: '{_HEAD}{name}' {has}, expected shape {shapes[name]}.\n"
                "The masked-LM head is incomplete or of another model: give a whole checkpoint."
            )
    return {"decoder": embedding} | {name: paddle.to_tensor(np.ascontiguousarray(array)) for name, array in parts.items()}
