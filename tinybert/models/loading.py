"""Loading an encoder with its classification head and tokenizer from a folder, with every parameter accounted for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from paddle import nn

from tinybert.data.tokenizer import WordPiece
from tinybert.errors import UserError
from tinybert.models.families import Family, family_of_config
from tinybert.models.hub import resolve
from tinybert.models.names import is_hugging_face, to_paddle
from tinybert.models.trace import base_of
from tinybert.models.weights import read_weights

# what a configuration file says about the network itself; all else (dtypes, versions, generation) is left behind
ARCHITECTURE_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "task_type_vocab_size",
    "use_task_id",
    "task_id",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "cls_token_id",
    "pool_act",
    "fit_size",
    "classifier_dropout",
)


@dataclass
class LoadReport:
    """What became of every parameter: read from the file, freshly initialised, or left over in the file."""

    source: str
    loaded: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} parameters loaded"]
        if self.fresh:
            parts.append(f"{len(self.fresh)} fresh ({_some(self.fresh)})")
        if self.unused:
            parts.append(f"{len(self.unused)} unused ({_some(self.unused)})")
        return f"{self.source}: " + ", ".join(parts)


def _some(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (f", and {len(names) - limit} more" if len(names) > limit else "")


@dataclass
class LoadedModel:
    """A classifier, its tokenizer, the label names it was trained with (None if it has none), and its projections by name."""

    model: nn.Layer
    family: Family
    tokenizer: WordPiece
    labels: tuple[str, ...] | None
    projections: dict[str, np.ndarray]
    report: LoadReport

    @property
    def config(self):
        """The PaddleNLP configuration object of the encoder."""
        return base_of(self.model).config

    def parameters(self) -> int:
        """How many numbers the model holds, projections left out."""
        return sum(int(np.prod(parameter.shape)) for parameter in self.model.parameters())


def read_config(folder: Path) -> dict:
    """Read config.json as a dictionary.

    Raises:
        UserError: no config.json, or not a JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"
        raise UserError(f"{folder} is no model folder: config.json is missing (found: {found}).") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds a {type(config).__name__}; expected a JSON object.")
    return config


def labels_of(config: dict) -> tuple[str, ...] | None:
    """The label names in a configuration, in the order of the classifier's outputs; None where they are absent or LABEL_<i>."""
    names = config.get("id2label")
    if not isinstance(names, dict) or not names:
        return None
    try:
        ordered = tuple(str(name) for _, name in sorted(names.items(), key=lambda item: int(item[0])))
    except ValueError:
        return None
    return None if all(name.startswith("LABEL_") for name in ordered) else ordered


def load_classifier(
    path: str,
    *,
    labels: tuple[str, ...],
    needs_head: bool,
    do_lower_case: bool | None = None,
    role: str = "model",
    own_labels: tuple[str, ...] | None = None,
) -> LoadedModel:
    """Load an encoder with a classification head of `len(labels)` outputs (one output where `labels` is empty: regression).

    own_labels: the label names that the model's outputs stand for, in place of those in its configuration.
    needs_head: refuse a model whose file has no trained classifier (a teacher); otherwise a missing head starts fresh.

    Raises:
        UserError: not a model folder, unreadable or truncated weights, shapes that disagree with the configuration, another number
            of labels than the task's, or a missing head.
    """
    folder = resolve(path, role)
    config = read_config(folder)
    kind = family_of_config(config, str(folder / "config.json"))
    arrays, file = read_weights(folder)
    arrays, left_over = _in_paddle_names(arrays, kind.base)
    projections = {
        name.removeprefix(f"{kind.base}."): arrays.pop(name) for name in list(arrays) if name.startswith(f"{kind.base}.fit_dense")
    }
    outputs = max(1, len(labels))
    _check_head(arrays, outputs, needs_head, labels, folder, role)
    if needs_head:
        _align_labels(arrays, own_labels or labels_of(config), labels, folder, role, own_labels is not None)
    model = build(kind, config, outputs, str(folder))
    report = _fill(model, arrays, LoadReport(str(file)), role)
    if needs_head and report.fresh:
        raise UserError(
            f"{file} lacks {len(report.fresh)} weights of its head ({_some(report.fresh)}).\n"
            f"The {role} would answer from random numbers there: give a whole fine-tuned checkpoint."
        )
    report.unused += left_over
    tokenizer = WordPiece.from_folder(folder, do_lower_case)
    loaded = LoadedModel(model, kind, tokenizer, labels_of(config), projections, report)
    check_vocabulary(str(folder), loaded)
    return loaded


def check_vocabulary(source: str, loaded: LoadedModel) -> None:
    """Refuse a vocabulary that has more word pieces than the embedding has rows.

    Raises:
        UserError: it has.
    """
    rows = base_of(loaded.model).embeddings.word_embeddings.weight.shape[0]
    if loaded.tokenizer.vocab_size > rows:
        raise UserError(
            f"{source}: vocab.txt has {loaded.tokenizer.vocab_size} word pieces, but the embedding only {rows} rows.\n"
            "The vocabulary belongs to another model: use the right vocab.txt."
        )


def build(kind: Family, config: dict, outputs: int, source: str) -> nn.Layer:
    """A classifier of this family with fresh weights, without the projections that PaddleNLP keeps inside TinyBERT."""
    known = {key: config[key] for key in ARCHITECTURE_KEYS if config.get(key) is not None}
    for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        if not isinstance(known.get(key), int) or known[key] < 1:
            raise UserError(f"{source}: '{key}' in config.json is {known.get(key)!r}; expected a positive whole number.")
    if known["hidden_size"] % known["num_attention_heads"]:
        raise UserError(
            f"{source}: hidden_size {known['hidden_size']} is not a multiple of num_attention_heads {known['num_attention_heads']}."
        )
    if kind.model_type == "tinybert":
        known["fit_size"] = 1  # these layers are deleted below: keep them small
        known.setdefault("type_vocab_size", 2)  # the class's own default is 16, no checkpoint has that
    try:
        model = kind.classifier(kind.config(**known, num_labels=outputs))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UserError(f"{source}: config.json does not describe a {kind.model_type} encoder: {error}") from None
    encoder = base_of(model)
    if kind.model_type == "tinybert":
        del encoder.fit_dense, encoder.fit_denses
    return model


def _in_paddle_names(arrays: dict[str, np.ndarray], base: str) -> tuple[dict[str, np.ndarray], list[str]]:
    if is_hugging_face(set(arrays)):
        return to_paddle(arrays, base)
    renamed = {}
    for name, array in arrays.items():
        bare = name
        for prefix in ("bert.", "tinybert.", "ernie.", "roberta."):
            bare = bare.removeprefix(prefix)
        inside = bare.startswith(("embeddings.", "encoder.", "pooler.", "fit_dense"))
        renamed[f"{base}.{bare}" if inside else bare] = array
    return renamed, []


def _check_head(arrays: dict[str, np.ndarray], outputs: int, needed: bool, labels: tuple[str, ...], folder: Path, role: str) -> None:
    weight = arrays.get("classifier.weight", arrays.get("classifier.out_proj.weight"))
    if weight is None:
        if needed:
            raise UserError(
                f"the {role} {folder} has no trained classifier: it was pre-trained, not fine-tuned on this task.\n"
                "Fine-tune it first (benchmark/glue/run_glue.py) and give the folder that this leaves."
            )
        return
    if weight.shape[-1] != outputs:
        if needed:
            task = f"{outputs} labels ({', '.join(labels)})" if labels else "one score (regression)"
            raise UserError(
                f"the {role} {folder} has {weight.shape[-1]} outputs, but the task has {task}.\n"
                "It was fine-tuned on another task: give the one of this task."
            )
        for name in [name for name in arrays if name.startswith("classifier.")]:
            del arrays[name]


def _align_labels(
    arrays: dict[str, np.ndarray],
    own: tuple[str, ...] | None,
    wanted: tuple[str, ...],
    folder: Path,
    role: str,
    told: bool,
) -> None:
    """Put the classifier's outputs into the task's label order, where the configuration names its labels.

    A teacher whose labels stand in another order would teach the wrong ones. Tasks whose labels are bare numbers have no names to compare.
    """
    if own is None or not wanted or (all(name.isdigit() for name in wanted) and not told):
        return
    known = {name.lower(): i for i, name in enumerate(own)}
    if set(known) != {name.lower() for name in wanted}:
        raise UserError(
            f"the {role} {folder} was trained with the labels {', '.join(own)}, but the task has {', '.join(wanted)}.\n"
            "It belongs to another task, or its config.json (id2label) should name them as the task does."
        )
    order = [known[name.lower()] for name in wanted]
    if order == list(range(len(order))):
        return
    for name in ("classifier.weight", "classifier.bias", "classifier.out_proj.weight", "classifier.out_proj.bias"):
        if name in arrays:
            arrays[name] = arrays[name][..., order]
    print(f"{role}: its labels stand as {', '.join(own)}; its outputs were put into the task's order {', '.join(wanted)}")


def _fill(model: nn.Layer, arrays: dict[str, np.ndarray], report: LoadReport, role: str) -> LoadReport:
    state = model.state_dict()
    for name, parameter in state.items():
        array = arrays.get(name)
        if array is None:
            report.fresh.append(name)
        elif list(array.shape) != list(parameter.shape):
            raise UserError(
                f"{report.source}: '{name}' has shape {list(array.shape)}, but config.json asks for {list(parameter.shape)}.\n"
                "Weights and configuration belong to different models."
            )
        else:
            parameter.set_value(np.ascontiguousarray(array))
            report.loaded.append(name)
    report.unused += [name for name in arrays if name not in state]
    missing = [name for name in report.fresh if ".encoder." in name or ".embeddings." in name]
    if missing:
        raise UserError(
            f"{report.source} lacks {len(missing)} weights of the encoder ({_some(missing)}).\n"
            f"The {role} would start from random numbers there: give a whole checkpoint."
        )
    return report
