"""A classifier as a program for Paddle Inference, which runs without the model's Python code.

The output folder contains `inference.json` (`inference.pdmodel` for Paddle 2.6) and `inference.pdiparams`, `config.json` with the
output names, and the tokenizer's files. The inputs are `input_ids` and, if the family has token types, `token_type_ids`, int64 `[B, T]`,
padded with the tokenizer's padding id; the output is logits `[B, C]`, for tagged words `[B, T, C]`, for questions `[B, T, 2]`.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from tinybert import storage
from tinybert.errors import UserError
from tinybert.models.exporting import Verification, fixed_batch, has_head
from tinybert.models.families import head_of_model
from tinybert.models.loading import LoadedModel
from tinybert.models.saving import config_dict
from tinybert.models.trace import base_of, token_types

NAME = "inference"
TOLERANCE = 1e-5  # the program's operations are fused


class _Served(nn.Layer):
    """The model in evaluation mode, from ids and segments to logits.

    Paddle Inference 3.3 (`matmul_add_act_fuse_pass`) silently fuses TinyBERT's relu(tanh(x)) to relu(x). It is therefore written as
    tanh(relu(x)), which is the same value.
    """

    def __init__(self, model: nn.Layer, relu_head: bool) -> None:
        super().__init__()
        self.model = model
        relu_head = relu_head and head_of_model(model) == "sequence"
        self.turned = relu_head and getattr(base_of(model).config, "pool_act", "tanh") == "tanh"

    def forward(self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor | None = None) -> paddle.Tensor:
        if not self.turned:
            return _logits(self.model(input_ids) if token_type_ids is None else self.model(input_ids, token_type_ids))
        encoder = base_of(self.model)
        hidden = encoder(input_ids, token_type_ids)[0]
        pooled = paddle.tanh(nn.functional.relu(encoder.pooler.dense(hidden[:, 0])))
        return self.model.classifier(pooled)


def _inputs(model: nn.Layer) -> tuple[str, ...]:
    """The names of the inputs, without token types if the family has none."""
    return ("input_ids", "token_type_ids") if token_types(model) else ("input_ids",)


def _logits(outputs: paddle.Tensor | tuple[paddle.Tensor, ...]) -> paddle.Tensor:
    """`[B, C]`, `[B, T, C]`, or start and end of an answer `[B, T, 2]`."""
    return paddle.stack(outputs, axis=-1) if isinstance(outputs, tuple) else outputs


def write_program(folder: Path, loaded: LoadedModel) -> Verification:
    """Write the program, run it and compare; atomic.

    Raises:
        UserError: the model has no head, or the program's logits differ; nothing has been written then.
    """
    with storage.new_folder(folder, replace=True) as temporary:
        save_program(temporary, loaded)
        names = loaded.output_names
        storage.write_json(temporary / "config.json", config_dict(loaded.model, loaded.family, names, loaded.head_config(names)))
        loaded.tokenizer.save(temporary, tokenizer_class=loaded.family.tokenizer)
        return _verify(temporary, loaded)


def check_program(loaded: LoadedModel) -> None:
    """Reject a model that cannot be converted to a program.

    Raises:
        UserError: it has no head, or relative positions.
    """
    if loaded.family.relative:
        raise UserError(
            f"a {loaded.family.stem} cannot be converted to a program: its score bias depends on the length.\n"
            "Distil it into a BERT or TinyBERT."
        )
    if not has_head(loaded):
        raise UserError("this model has no classifier, which a program for serving needs.\nFine-tune or distil it for a task first.")


def save_program(folder: Path, loaded: LoadedModel) -> None:
    """Write the program's two files to a folder.

    Raises:
        UserError: see `check_program`.
    """
    check_program(loaded)
    served = _Served(loaded.model, loaded.family.relu_head)
    served.eval()
    shape = [paddle.static.InputSpec([None, None], "int64", name) for name in _inputs(loaded.model)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tensor do not have 'place' interface")
        paddle.jit.save(paddle.jit.to_static(served, input_spec=shape, full_graph=True), str(folder / NAME))


def program_file(folder: Path) -> Path | None:
    """The program in a folder: `inference.json`, for Paddle 2.6 `inference.pdmodel`; None if there is none."""
    return next((path for path in (folder / f"{NAME}.json", folder / f"{NAME}.pdmodel") if path.exists()), None)


def _verify(folder: Path, loaded: LoadedModel) -> Verification:
    """Compare the program with the model on a fixed batch, and on only its first row."""
    predictor = _predictor(folder)
    inputs = fixed_batch(loaded)
    arrays = {name: getattr(inputs, name).numpy() for name in _inputs(loaded.model)}
    difference = 0.0
    for rows in (slice(None), slice(0, 1)):
        for name, array in arrays.items():
            predictor.get_input_handle(name).copy_from_cpu(array[rows])
        predictor.run()
        found = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
        with paddle.no_grad():
            expected = _logits(loaded.model(*(paddle.to_tensor(array[rows]) for array in arrays.values()))).numpy()
        difference = max(difference, float(np.abs(found - expected).max()))
    if not difference <= TOLERANCE:
        raise UserError(
            f"the program gives other logits than the model: largest difference {difference:g}, expected at most {TOLERANCE:g}.\n"
            "Nothing was written; please report this."
        )
    return Verification("logits", difference, len(loaded.model.state_dict()))


def _predictor(folder: Path):
    from paddle.inference import Config, create_predictor

    config = Config(str(program_file(folder)), str(folder / f"{NAME}.pdiparams"))
    config.disable_gpu()
    config.disable_glog_info()
    return create_predictor(config)
