"""A BERT with its masked-LM head: the most probable tokens at selected positions of each row, without unnecessary computation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.limits import max_positions
from tinybert.models.loading import LoadedModel, ModelFolder, read_folder
from tinybert.models.trace import Inputs, Needs, base_of, trace

_HEAD = "cls.predictions."
_POSITIONS = 256  # scored against the whole vocabulary at a time: 30 MB for 30,000 tokens
_DECODER, _BIAS = ("decoder.weight", "decoder_weight"), ("decoder_bias", "decoder.bias")  # PaddleNLP 3 and 2


class MaskedLMHead(nn.Layer):
    """Predicts the token at a position: `transform`, `layer_norm`, and the decoder with its bias.

    embedding: the word embedding `[V, D]`, also used as the decoder, as in BERT; own_decoder: a separate parameter of the head is used
    instead.
    """

    def __init__(self, config, embedding: paddle.Tensor, own_decoder: bool = False) -> None:
        super().__init__()
        width, self._activation = embedding.shape[1], config.hidden_act
        self.transform = nn.Linear(width, width)
        self.transform.weight.set_value(paddle.normal(0.0, float(config.initializer_range), [width, width]))
        self.layer_norm = nn.LayerNorm(width, epsilon=float(config.layer_norm_eps))
        self.decoder_bias = self.create_parameter([embedding.shape[0]], is_bias=True)
        self._tied = (embedding,)  # in a tuple: a parameter of the encoder, not of the head
        if own_decoder:
            self.decoder = self.create_parameter(embedding.shape)

    def forward(self, hidden: paddle.Tensor) -> paddle.Tensor:
        """Map outputs of the encoder's last layer to logits, `[P, D] -> [P, V]`."""
        x = self.layer_norm(getattr(F, self._activation)(self.transform(hidden)))
        return paddle.matmul(x, getattr(self, "decoder", self._tied[0]), transpose_y=True) + self.decoder_bias

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by PaddleNLP's names, `cls.predictions.*`."""
        found = {f"{_HEAD}{name}": value.numpy() for name, value in self.state_dict().items() if name != "decoder"}
        decoder = {f"{_HEAD}decoder.weight": self.decoder.numpy()} if hasattr(self, "decoder") else {}
        return found | decoder


@dataclass
class MaskedLM:
    """An encoder and its head, in evaluation mode."""

    loaded: LoadedModel
    head: MaskedLMHead
    report: str

    @property
    def tokenizer(self) -> WordPiece:
        """The tokenizer of the model's folder."""
        return self.loaded.tokenizer

    @property
    def positions(self) -> int:
        """The maximum row length."""
        return max_positions(self.loaded)

    def hidden(self, ids: np.ndarray, segments: np.ndarray, rows: np.ndarray, at: np.ndarray) -> paddle.Tensor:
        """The last layer's outputs at positions `at` of `rows` (both `[P]`) of `ids` `[B, T]`, which has no padding: `[P, D]`.

        If all rows have the same number of positions, in order, the last layer is computed only there.
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
        """The logits for outputs of the last layer, `[P, D] -> [P, V]`."""
        with paddle.no_grad():
            return self.head(hidden)

    def top(self, hidden: paddle.Tensor, count: int) -> np.ndarray:
        """The `count` best tokens at each position `[P, D]`, best first: int32 `[P, count]`."""
        best = []
        for begin in range(0, hidden.shape[0], _POSITIONS):
            logits = self.logits(hidden[begin : begin + _POSITIONS])
            best.append(paddle.topk(logits, min(count, logits.shape[-1]))[1].numpy().astype(np.int32))
        return np.concatenate(best)


def load_masked_lm(path: str, do_lower_case: bool | None = None, fresh_head: bool = False) -> MaskedLM:
    """Load a BERT with its masked-LM head from a folder (PaddleNLP's or Hugging Face's format), or by name.

    A head without its own decoder uses the word embedding, as in BERT. fresh_head: create a new head if the folder has none.

    Raises:
        UserError: as `load_classifier`; no head, an incomplete head or one with another shape, or a vocabulary without a mask token.
    """
    role = "masked-LM model"
    found = read_folder(path, role)
    arrays = {name.removeprefix(_HEAD): array for name, array in found.arrays.items() if name.startswith(_HEAD)}
    if not arrays and not fresh_head:
        raise UserError(
            f"the {role} {found.folder} has no masked-LM head (cls.predictions.*): it cannot predict masked words.\n"
            "Give a pre-trained BERT such as bert-base-uncased, or the output of `tinybert pretrain`; sentence "
            "encoders and fine-tuned classifiers have no such head."
        )
    if not found.family.is_plain_bert:
        raise UserError(
            f"the {role} {found.folder} is a {found.family.stem}, whose masked-LM head has another form and is not supported.\nGive a BERT."
        )
    loaded = found.filled(None, None, do_lower_case, role)
    loaded.model.eval()
    if loaded.tokenizer.mask_id is None:
        raise UserError(f"{found.folder}/vocab.txt has no {loaded.tokenizer.special['mask']}: the {role} needs it for masking.")
    embedding = base_of(loaded.model).embeddings.word_embeddings.weight
    head = _head(arrays, found, loaded) if arrays else MaskedLMHead(loaded.config, embedding)
    head.eval()
    names = list(head.arrays())
    report = dataclasses.replace(loaded.report, loaded=loaded.report.loaded + names * bool(arrays))
    report.fresh = loaded.report.fresh + names * (not arrays)
    report.unused = [name for name in loaded.report.unused if not name.startswith(_HEAD)]
    return MaskedLM(loaded, head, str(report))


def _head(arrays: dict[str, np.ndarray], found: ModelFolder, loaded: LoadedModel) -> MaskedLMHead:
    embedding = base_of(loaded.model).embeddings.word_embeddings.weight
    decoder = next((arrays[name] for name in _DECODER if name in arrays), None)
    if decoder is not None and list(decoder.shape) == embedding.shape[::-1]:
        decoder = decoder.T
    bias = next((arrays[name] for name in _BIAS if name in arrays), None)
    parts = arrays | {"decoder": decoder, "decoder_bias": bias}
    own = decoder is not None and not np.array_equal(decoder, embedding.numpy())
    head = MaskedLMHead(loaded.config, embedding, own)
    for name, parameter in head.named_parameters():
        array = parts.get(name)
        if array is None or list(array.shape) != parameter.shape:
            has = "is missing" if array is None else f"has shape {list(array.shape)}"
            raise UserError(
                f"{found.file}: '{_HEAD}{name}' {has}, expected shape {parameter.shape}.\n"
                "The masked-LM head is incomplete or of another model: give a complete checkpoint."
            )
        parameter.set_value(np.ascontiguousarray(array))
    return head
