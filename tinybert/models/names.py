"""Converts weight names from the Hugging Face / PyTorch convention to PaddleNLP's and back.

PyTorch stores a linear weight as `[out, in]`, Paddle as `[in, out]`, so linear weights are transposed.
"""

from __future__ import annotations

import re

import numpy as np

from tinybert.errors import UserError
from tinybert.models.families import BASES

# (Hugging Face pattern, PaddleNLP name, whether to transpose); {i} is a number
_PAIRS: tuple[tuple[str, str, bool], ...] = (
    ("embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight", False),
    ("embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight", False),
    ("embeddings.token_type_embeddings.weight", "embeddings.token_type_embeddings.weight", False),
    ("embeddings.task_type_embeddings.weight", "embeddings.task_type_embeddings.weight", False),
    ("embeddings.LayerNorm.{p}", "embeddings.layer_norm.{p}", False),
    ("encoder.layer.{i}.attention.self.query.{p}", "encoder.layers.{i}.self_attn.q_proj.{p}", True),
    ("encoder.layer.{i}.attention.self.key.{p}", "encoder.layers.{i}.self_attn.k_proj.{p}", True),
    ("encoder.layer.{i}.attention.self.value.{p}", "encoder.layers.{i}.self_attn.v_proj.{p}", True),
    ("encoder.layer.{i}.attention.output.dense.{p}", "encoder.layers.{i}.self_attn.out_proj.{p}", True),
    ("encoder.layer.{i}.attention.output.LayerNorm.{p}", "encoder.layers.{i}.norm1.{p}", False),
    ("encoder.layer.{i}.intermediate.dense.{p}", "encoder.layers.{i}.linear1.{p}", True),
    ("encoder.layer.{i}.output.dense.{p}", "encoder.layers.{i}.linear2.{p}", True),
    ("encoder.layer.{i}.output.LayerNorm.{p}", "encoder.layers.{i}.norm2.{p}", False),
    ("embeddings_project.{p}", "embeddings_project.{p}", True),
    ("pooler.dense.{p}", "pooler.dense.{p}", True),
)
# DistilBERT's own names
_DISTILBERT = tuple(
    (f"transformer.layer.{{i}}.{theirs}.{{p}}", f"encoder.layers.{{i}}.{ours}.{{p}}", "norm" not in ours)
    for theirs, ours in (
        ("attention.q_lin", "self_attn.q_proj"),
        ("attention.k_lin", "self_attn.k_proj"),
        ("attention.v_lin", "self_attn.v_proj"),
        ("attention.out_lin", "self_attn.out_proj"),
        ("sa_layer_norm", "norm1"),
        ("ffn.lin1", "linear1"),
        ("ffn.lin2", "linear2"),
        ("output_layer_norm", "norm2"),
    )
)
# MPNet's own names, only used for reading
_MPNET = (
    ("encoder.layer.{i}.attention.attn.q.{p}", "encoder.layers.{i}.self_attn.q_proj.{p}", True),
    ("encoder.layer.{i}.attention.attn.k.{p}", "encoder.layers.{i}.self_attn.k_proj.{p}", True),
    ("encoder.layer.{i}.attention.attn.v.{p}", "encoder.layers.{i}.self_attn.v_proj.{p}", True),
    ("encoder.layer.{i}.attention.attn.o.{p}", "encoder.layers.{i}.self_attn.out_proj.{p}", True),
    ("encoder.layer.{i}.attention.LayerNorm.{p}", "encoder.layers.{i}.norm1.{p}", False),
    ("encoder.relative_attention_bias.weight", "encoder.relative_attention_bias.weight", False),
)
# the two factors of ROSITA's embedding, only used for reading
_FACTORS = (
    ("embeddings.word_embeddings1.weight", "embeddings.word_embeddings.weight", False),
    ("embeddings.word_embeddings2.weight", "embeddings.word_embeddings.up.weight", True),
)
# names outside of the encoder
_HEADS: tuple[tuple[str, str, bool], ...] = (
    ("classifier.{p}", "classifier.{p}", True),
    ("pre_classifier.{p}", "pre_classifier.{p}", True),
    ("classifier.dense.{p}", "classifier.dense.{p}", True),
    ("classifier.out_proj.{p}", "classifier.out_proj.{p}", True),
    ("cls.predictions.transform.dense.{p}", "cls.predictions.transform.{p}", True),
    ("cls.predictions.transform.LayerNorm.{p}", "cls.predictions.layer_norm.{p}", False),
    ("cls.predictions.decoder.weight", "cls.predictions.decoder.weight", False),
    ("cls.predictions.bias", "cls.predictions.decoder_bias", False),
    ("fit_dense.{p}", "{base}.fit_dense.{p}", True),
    ("share_fit_dense.{p}", "{base}.share_fit_dense.{p}", True),
    ("fit_denses.{i}.{p}", "{base}.fit_denses.{i}.{p}", True),
)

# the head of question answering models elsewhere, only used for reading
_SPANS = ("qa_outputs.{p}", "classifier.{p}", True)


_PARTS = {"i": r"\d+", "p": "weight|bias|gamma|beta", "base": r"\w+"}


def _pattern(spelling: str) -> re.Pattern[str]:
    pattern = re.escape(spelling)
    for part, values in _PARTS.items():
        pattern = pattern.replace(rf"\{{{part}\}}", f"(?P<{part}>{values})")
    return re.compile(pattern + "$")


def _compile(pairs: tuple[tuple[str, str, bool], ...]) -> list[tuple[re.Pattern[str], str, bool]]:
    return [(_pattern(source), target, transposed) for source, target, transposed in pairs]


_ENCODER_RULES, _HEAD_RULES = _compile((*_PAIRS, *_DISTILBERT, *_MPNET, *_FACTORS)), _compile((*_HEADS, _SPANS))
# the inverse: the same pairs, from right to left, a family's own names first
_BACK = _compile((
    *(("distilbert." + ours, "{prefix}" + theirs, flip) for theirs, ours, flip in _DISTILBERT),
    *(("{base}." + ours, "{prefix}" + theirs, flip) for theirs, ours, flip in _PAIRS),
    *((ours, theirs, flip) for theirs, ours, flip in _HEADS),
))  # fmt: skip
_OLD = {"gamma": "weight", "beta": "bias"}  # names from TensorFlow checkpoints in early PyTorch ones


_WRAPPERS = re.compile(r"^((module|_orig_mod|_layers)\.)+")


def unwrapped(arrays: dict[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """The arrays without the name prefixes of wrappers: DataParallel of PyTorch and Paddle, and torch.compile.

    Raises:
        UserError: two names become equal.
    """
    plain = {_WRAPPERS.sub("", name): array for name, array in arrays.items()}
    if len(plain) < len(arrays):
        wrapped = sorted(name for name in arrays if _WRAPPERS.match(name) and _WRAPPERS.sub("", name) in arrays)
        raise UserError(
            f"{source} contains weights with and without a wrapper prefix ({', '.join(wrapped[:4])}).\n"
            "It contains more than one model: save the state_dict() of a single model."
        )
    return plain


def is_hugging_face(names: list[str] | set[str]) -> bool:
    """Whether weight names follow the Hugging Face / PyTorch convention."""
    return any(".attention.self.query" in name or name.endswith("embeddings.LayerNorm.weight") for name in names)


def to_paddle(arrays: dict[str, np.ndarray], base: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Rename and transpose Hugging Face arrays for a PaddleNLP class whose encoder is called `base`.

    Returns the arrays and the source names that have no counterpart (masked-LM heads, position buffers).
    """
    renamed: dict[str, np.ndarray] = {}
    unknown: list[str] = []
    prefix = re.compile(rf"^({'|'.join(BASES)}|model)\.")
    for name, array in arrays.items():
        target = _translate(prefix.sub("", name), base)
        if target is None:
            unknown.append(name)
            continue
        new_name, transposed = target
        renamed[new_name] = array.T if transposed and array.ndim == 2 else array
    return renamed, unknown


def _translate(name: str, base: str) -> tuple[str, bool] | None:
    for rules, in_base in ((_ENCODER_RULES, True), (_HEAD_RULES, False)):
        for pattern, target, transposed in rules:
            if match := pattern.match(name):
                groups = {key: value for key, value in match.groupdict().items() if value is not None}
                groups["p"] = _OLD.get(groups.get("p", ""), groups.get("p", ""))
                new_name = target.format(base=base, **groups)
                return (f"{base}.{new_name}" if in_base else new_name), transposed
    return None


def to_hugging_face(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Rename and transpose the arrays of a PaddleNLP class, the inverse of `to_paddle`.

    prefix: of the encoder's names, `bert.` in a classifier, empty in a bare encoder.

    Raises:
        KeyError: a name without a counterpart.
    """
    renamed = {}
    for name, array in arrays.items():
        for pattern, target, transposed in _BACK:
            if match := pattern.match(name):
                new_name = target.format(prefix=prefix, **match.groupdict())
                renamed[new_name] = np.ascontiguousarray(array.T if transposed and array.ndim == 2 else array)
                break
        else:
            raise KeyError(name)
    return renamed
