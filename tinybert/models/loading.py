"""Loads an encoder, with or without its classification head, and its tokenizer from a folder; every parameter is accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from paddle import nn

from tinybert.data.fast_tokenizer import FastTokenizer, read_tokenizer
from tinybert.data.tokenizer import WordPiece
from tinybert.data.tokenizer_folder import check_tokenizer, is_word_piece
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.kinds.registry import kind_of_config, kind_of_labels, kind_of_outputs
from tinybert.models.configuration import (
    ARCHITECTURE_KEYS,
    TrainedOn,
    architecture,
    check_size,
    config_file,
    labels_of,
    read_config,
    trained_on,
)
from tinybert.models.families import BASES, Family, family_of_config, family_of_folder
from tinybert.models.heads import HEAD_PARTS, align_labels, fit_head, head_weight
from tinybert.models.hub import resolve
from tinybert.models.manifest import check_manifest
from tinybert.models.names import is_hugging_face, to_paddle, unwrapped
from tinybert.models.network_settings import unknown_keys
from tinybert.models.pruned_shapes import apply_pruned_shapes, strip_pruned_shapes
from tinybert.models.relative import RelativeEncoder, from_paddle_names
from tinybert.models.sources import compare_other_files
from tinybert.models.trace import base_of
from tinybert.models.weights import read_weights


@dataclass
class LoadReport:
    """What happened to each parameter: loaded from the file, newly initialised, or unused; and why this class was chosen."""

    source: str
    loaded: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    chosen: str = ""

    def fresh_in(self, part: str) -> bool:
        """Whether any parameter in this part of the model (`pooler`) was newly initialised."""
        return any(f".{part}." in name for name in self.fresh)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} parameters loaded"]
        if self.fresh:
            parts.append(f"{len(self.fresh)} fresh ({_some(self.fresh)})")
        if self.unused:
            parts.append(f"{len(self.unused)} unused ({_some(self.unused)})")
        return f"{self.source}: " + ", ".join(parts) + (f"; {self.chosen}" if self.chosen else "")


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f", and {len(names) - 4} more" if len(names) > 4 else "")


@dataclass
class LoadedModel:
    """A model, its tokenizer, the label names it was trained with (None if unknown), and its projections by name.

    kind: of the task of its head. decision: parameters of its predictions besides the logits, see `Kind.decide`.
    trained_on: its training data according to its folder.
    """

    model: nn.Layer
    family: Family
    tokenizer: WordPiece | FastTokenizer
    labels: tuple[str, ...] | None
    projections: dict[str, np.ndarray]
    report: LoadReport
    kind: Kind | None = None
    decision: dict[str, float] = field(default_factory=dict)
    trained_on: TrainedOn = TrainedOn()

    @property
    def config(self):
        """The PaddleNLP configuration object of the encoder."""
        return base_of(self.model).config

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, LABEL_<i> if they have none."""
        outputs = int(self.config.num_labels)
        return (self.kind or kind_of_outputs(outputs)).output_names(self.labels, outputs)

    @property
    def head(self) -> str:
        """The input of its logits, see `Kind.head`."""
        return self.kind.head if self.kind else "sequence"

    def head_config(self, labels: tuple[str, ...]) -> dict:
        """The entries of config.json about the head, whose outputs have these labels."""
        return (self.kind or kind_of_labels(labels)).head_config(labels) | self.decision

    def parameters(self) -> int:
        """The number of parameters, without projections."""
        return sum(int(np.prod(parameter.shape)) for parameter in self.model.parameters())


def load_classifier(
    path: str,
    *,
    labels: tuple[str, ...],
    needs_head: bool,
    kind: Kind | None = None,
    do_lower_case: bool | None = None,
    role: str = "model",
    own_labels: tuple[str, ...] | None = None,
) -> LoadedModel:
    """Load an encoder with a head for these labels.

    kind: of the task; by default derived from the labels (`kind_of_labels`).
    own_labels: label names of the model's outputs that override its configuration.
    needs_head: reject a model without a trained classifier (for teachers); otherwise a missing head is newly initialised.

    Raises:
        UserError: not a model folder, unreadable or truncated weights, shapes that do not match the configuration, another number
        of labels than the task's, or a missing head.
    """
    kind = kind or kind_of_labels(labels)
    found = read_folder(path, role).for_head(kind.head)
    own, whose = labels_of(found.config), f"the {role} {found.folder}"
    fit_head(found.arrays, kind_of_config(found.config), kind, labels, whose, needs_head)
    if needs_head:
        align_labels(found.arrays, own_labels or own, labels, whose, role, own_labels is not None)
    loaded = found.filled(kind.outputs(labels), own, do_lower_case, role, kind.head)
    loaded.kind, loaded.decision, loaded.trained_on = kind, kind.decision_of(found.config), trained_on(found.config)
    if needs_head:
        _refuse_half_a_head(loaded.report, role)
    return loaded


def load_pretrained(path: str, role: str = "model") -> tuple[LoadedModel, dict]:
    """Load a model with its own head and output order, and its configuration file.

    A missing head is newly initialised; see `report.fresh`.

    Raises:
        UserError: as `load_classifier`; or a part of the head is missing.
    """
    found = read_folder(path, role)
    weight = head_weight(found.arrays)
    kind = kind_of_config(found.config)
    head = kind.head if kind else "sequence"
    loaded = found.filled(1 if weight is None else weight.shape[-1], labels_of(found.config), None, role, head)
    if weight is not None:
        _refuse_half_a_head(loaded.report, role)
    if loaded.labels is not None and (weight is None or len(loaded.labels) != weight.shape[-1]):
        loaded.labels = None
    loaded.kind, loaded.decision = kind, kind.decision_of(found.config) if kind else {}
    return loaded, found.config


def load_encoder(path: str, *, do_lower_case: bool | None = None, role: str = "model") -> LoadedModel:
    """Load an encoder without a head; a head in the file (classifier, masked-LM) is reported as unused.

    Raises:
        UserError: not a model folder, unreadable or truncated weights, or shapes that do not match the configuration.
    """
    return read_folder(path, role).filled(None, None, do_lower_case, role)


@dataclass
class ModelFolder:
    """A model folder's content: arrays by PaddleNLP's names, and separately the projections."""

    folder: Path
    config: dict
    family: Family
    reason: str
    arrays: dict[str, np.ndarray]
    projections: dict[str, np.ndarray]
    left_over: list[str]
    file: Path
    notes: list[str] = field(default_factory=list)

    def for_head(self, head: str) -> ModelFolder:
        """The same with the encoder's names in the family that has such a head."""
        family, base = self.family.for_head(head), f"{self.family.base}."
        if family is self.family:
            return self
        arrays = {
            f"{family.base}.{name.removeprefix(base)}" if name.startswith(base) else name: array for name, array in self.arrays.items()
        }
        return replace(self, family=family, arrays=arrays)

    def filled(
        self, outputs: int | None, labels: tuple[str, ...] | None, do_lower_case: bool | None, role: str, head: str = "sequence"
    ) -> LoadedModel:
        """The model with these weights and a classifier with `outputs` outputs; None: only the encoder.

        A tokenizer other than BERT's only suits classifiers of whole rows.
        """
        model = build(self.family, self.config, outputs, str(self.folder), head)
        chosen = "; ".join([f"read as {self.family.model_type}: {self.reason}", *self.notes])
        report = _fill(model, self.arrays, LoadReport(str(self.file), chosen=chosen), role)
        report.unused += self.left_over
        of_rows = outputs is not None and head == "sequence"
        tokenizer = (read_tokenizer if of_rows else WordPiece.from_folder)(self.folder, do_lower_case)
        loaded = LoadedModel(model, self.family, tokenizer, labels, self.projections, report)
        check_vocabulary(str(self.folder), loaded)
        return loaded


def read_folder(path: str, role: str) -> ModelFolder:
    """Read configuration and weights of a model, see `hub.resolve`.

    Raises:
        UserError: not a model folder, or unreadable or truncated weights.
    """
    folder = resolve(path, role)
    config = read_config(folder)
    source = str(config_file(folder))
    family_of_config(config, source)  # rejects other models before their weights are read
    if is_word_piece(folder):
        check_tokenizer(folder)
    check_manifest(folder)
    arrays, file = read_weights(folder)
    arrays = unwrapped(arrays, str(file))
    family, reason = family_of_folder(config, arrays, source)
    arrays, left_over = _in_paddle_names(arrays, family.base)
    check_size(config, sum(array.size for array in arrays.values()), source)
    notes = compare_other_files(file, arrays, lambda others: _in_paddle_names(others, family.base)[0])
    parts = tuple(f"{family.base}.{name}" for name in ("fit_dense", "share_fit_dense"))
    projections = {name.removeprefix(f"{family.base}."): arrays.pop(name) for name in list(arrays) if name.startswith(parts)}
    notes += unknown_keys(config, set(ARCHITECTURE_KEYS))
    return ModelFolder(folder, config, family, reason, arrays, projections, left_over, file, notes)


def _refuse_half_a_head(report: LoadReport, role: str) -> None:
    if report.fresh:
        raise UserError(
            f"{report.source} lacks {len(report.fresh)} weights of its head ({_some(report.fresh)}).\n"
            f"The {role} would use random weights there: give a complete fine-tuned checkpoint."
        )


def check_vocabulary(source: str, loaded: LoadedModel) -> None:
    """Reject a vocabulary that is larger than the embedding, or much smaller.

    Published embeddings are padded to a round number of rows, by up to 50 (ERNIE: 40,000 rows for 39,979 tokens).

    Raises:
        UserError: it is.
    """
    rows = base_of(loaded.model).embeddings.word_embeddings.weight.shape[0]
    pieces = loaded.tokenizer.vocab_size
    if pieces > rows:
        raise UserError(
            f"{source}: vocab.txt has {pieces} tokens, but the embedding only {rows} rows.\n"
            "The vocabulary belongs to another model, or tokens were added to it but not to the model: use the matching vocab.txt."
        )
    if rows - pieces > max(_SPARE_ROWS, rows // 50):
        raise UserError(
            f"{source}: vocab.txt has {pieces} tokens, but the embedding {rows} rows: {rows - pieces} of them would never be used.\n"
            "The vocabulary is truncated or belongs to another model: use the matching vocab.txt. If the rows are spare, add a "
            "line for each of "
            "them to vocab.txt ([unused1], [unused2], ...)."
        )


_SPARE_ROWS = 256  # unused rows that an embedding may have


def build(family: Family, config: dict, outputs: int | None, source: str, head: str = "sequence") -> nn.Layer:
    """A classifier of this family with random weights, without PaddleNLP's projections inside TinyBERT.

    outputs: None removes the classifier, which leaves an encoder with the parameter names of a model with a head.
    """
    known = architecture({**config, "model_type": family.model_type}, source)
    known = {**family.defaults, **({"embedding_size": known["hidden_size"]} if family.projects_embeddings else {}), **known}
    if family.keeps_projections:
        known["fit_size"] = 1  # these layers are deleted below: keep them small
    try:
        model = family.head_class(head)(family.config(**strip_pruned_shapes(known), num_labels=outputs or 1))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{source}: config.json does not describe a {family.model_type} encoder: {error}") from None
    if outputs is None:
        for part in HEAD_PARTS:
            if hasattr(model, part):
                delattr(model, part)
    encoder = base_of(model)
    if family.relative:
        if "attention_head_size" in known:
            raise UserError(
                f"{source}: heads of {family.stem} cannot be pruned: all layers share one bias per head.\nPrune neurons or layers."
            )
        encoder.encoder = RelativeEncoder(encoder.config)
    apply_pruned_shapes(encoder, known)
    if family.keeps_projections:
        del encoder.fit_dense, encoder.fit_denses
    for layer in encoder.sublayers():
        if isinstance(layer, nn.LayerNorm):
            layer._epsilon = encoder.config.layer_norm_eps  # PaddleNLP 3.0.0b4: ErnieModel always uses 1e-12
    return model


def _in_paddle_names(arrays: dict[str, np.ndarray], base: str) -> tuple[dict[str, np.ndarray], list[str]]:
    if is_hugging_face(set(arrays)):
        return to_paddle(arrays, base)
    renamed = {}
    for name, array in from_paddle_names(arrays).items():
        bare = name
        for prefix in BASES:
            bare = bare.removeprefix(f"{prefix}.")
        inside = bare.startswith(("embeddings.", "embeddings_project.", "encoder.", "pooler.", "fit_dense", "share_fit_dense"))
        renamed[f"{base}.{bare}" if inside else bare] = array
    return renamed, []


# matrices without which a layer has no effect
_NEVER_ZERO = ("word_embeddings.weight", "v_proj.weight", "out_proj.weight", "linear1.weight", "linear2.weight")


def _why_shape(array: np.ndarray, expected: list[int]) -> str:
    if list(array.shape) == expected[::-1]:
        return (
            "The matrix is transposed: under these names Paddle stores [in, out] and PyTorch [out, in].\n"
            "Save the model again with the library it was trained with instead of renaming its weights."
        )
    if array.size == 0:
        return "The file has names without values, as left by DeepSpeed ZeRO and sharded training: gather the weights, then save."
    return "Weights and config belong to different models."


def _fill(model: nn.Layer, arrays: dict[str, np.ndarray], report: LoadReport, role: str) -> LoadReport:
    state = model.state_dict()
    for name, parameter in state.items():
        array = arrays.get(name)
        if array is None:
            report.fresh.append(name)
        elif list(array.shape) != list(parameter.shape):
            raise UserError(
                f"{report.source}: '{name}' has shape {list(array.shape)}, but config.json requires {list(parameter.shape)}.\n"
                + _why_shape(array, list(parameter.shape))
            )
        elif array.dtype.kind != "f":
            raise UserError(
                f"{report.source}: '{name}' has type {array.dtype}; expected floating point.\n"
                "The weights are quantised, which is not supported: give the model before quantisation."
            )
        elif not array.any() and name.endswith(_NEVER_ZERO):
            raise UserError(
                f"{report.source}: all values of '{name}' are 0.\n"
                "The checkpoint is incomplete, for example saved by another process: save the whole model again."
            )
        else:
            parameter.set_value(np.ascontiguousarray(array))
            report.loaded.append(name)
    report.unused += [name for name in arrays if name not in state]
    missing = [name for name in report.fresh if ".encoder." in name or ".embeddings" in name]
    if missing:
        raise UserError(
            f"{report.source} lacks {len(missing)} weights of the encoder ({_some(missing)}).\n"
            f"The {role} would start from random weights there: give a complete checkpoint."
        )
    return report
