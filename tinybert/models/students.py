"""Creates students: selected layers of the teacher, or a shape with random weights; and checks their compatibility."""

from __future__ import annotations

import itertools
import re

import numpy as np
import paddle

from tinybert import runtime
from tinybert.data.tokenizer import WordPiece
from tinybert.data.tokenizer_folder import has_vocabulary
from tinybert.errors import UserError
from tinybert.models.configuration import config_file, read_config
from tinybert.models.families import STUDENT, family
from tinybert.models.hub import resolve
from tinybert.models.limits import check_positions
from tinybert.models.loading import LoadedModel, LoadReport, build, check_vocabulary
from tinybert.models.model_info import ModelInfo
from tinybert.models.translation import have_same_tokens
from tinybert.models.weights import weights_files


def parse_init(text: str, teacher_layers: int) -> tuple[int, ...]:
    """Parse `teacher:1,3,5` to 1-based layer numbers.

    Raises:
        UserError: another format, a layer that the teacher does not have, or layers that are not in ascending order.
    """
    match = re.fullmatch(r"teacher:(\d+(?:,\d+)*)", text.replace(" ", ""))
    if match is None:
        raise UserError(f"invalid --student_init '{text}'. Expected teacher:<layers>, such as teacher:1,3,5 (1-based).")
    layers = tuple(int(number) for number in match.group(1).split(","))
    if min(layers) < 1 or max(layers) > teacher_layers or any(b <= a for a, b in itertools.pairwise(layers)):
        raise UserError(
            f"--student_init {text}: the teacher has layers 1 to {teacher_layers}; expected some of them, each once, in ascending order."
        )
    return layers


def student_from_teacher(teacher: LoadedModel, layers: tuple[int, ...], outputs: int | None) -> LoadedModel:
    """A student of the teacher's class and width, initialised with its embeddings, some of its layers (1-based) and its head."""
    config = {**teacher.config.to_dict(), "num_hidden_layers": len(layers)}
    model = build(teacher.family, config, outputs, "the student", teacher.head)
    source = arrays_of_layers(teacher, layers)
    report = LoadReport(f"layers {', '.join(map(str, layers))} of the teacher")
    for name, parameter in model.state_dict().items():
        parameter.set_value(source[name])
        report.loaded.append(name)
    return LoadedModel(model, teacher.family, teacher.tokenizer, teacher.labels, {}, report, teacher.kind, dict(teacher.decision))


def arrays_of_layers(loaded: LoadedModel, layers: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The weights of a model with only some of its layers (1-based), renumbered."""
    pattern = re.compile(r"(.*encoder\.layers\.)(\d+)(\..*)")
    number = {layer - 1: i for i, layer in enumerate(layers)}
    arrays = {}
    for name, value in loaded.model.state_dict().items():
        match = pattern.fullmatch(name)
        if match is None:
            arrays[name] = value.numpy()
        elif int(match[2]) in number:
            arrays[f"{match[1]}{number[int(match[2])]}{match[3]}"] = value.numpy()
    return arrays


def fresh_student(
    teacher: LoadedModel | ModelInfo,
    outputs: int | None,
    *,
    model_type: str = STUDENT,
    layers: int | None,
    hidden: int | None,
    heads: int | None,
    ffn: int | None,
    seed: int,
    head: str = "sequence",
) -> LoadedModel:
    """A student of this shape with random weights and the teacher's vocabulary, positions and tokenizer.

    Defaults: the teacher's width and heads, and four times the width for the feed-forward layers.

    Raises:
        UserError: the width is not divisible by the number of heads.
    """
    of_teacher = teacher.config
    hidden = hidden or of_teacher.hidden_size
    heads = heads or of_teacher.num_attention_heads
    if hidden % heads:
        raise UserError(
            f"a student of width {hidden} cannot have {heads} heads: the width must be a multiple of the heads. Set --student_heads."
        )
    config = {
        "vocab_size": of_teacher.vocab_size,
        "hidden_size": hidden,
        "num_hidden_layers": layers or of_teacher.num_hidden_layers,
        "num_attention_heads": heads,
        "intermediate_size": ffn or 4 * hidden,
        "hidden_act": "gelu",
        "max_position_embeddings": of_teacher.max_position_embeddings,
        "type_vocab_size": getattr(of_teacher, "type_vocab_size", None) or 2,
        "pad_token_id": of_teacher.pad_token_id,
        "layer_norm_eps": 1e-12,
    }
    student_family = family(model_type).for_head(head)
    paddle.seed(runtime.derive_seed(seed, "student"))
    model = build(student_family, config, outputs, "the student", head)
    report = LoadReport("random weights", fresh=list(model.state_dict()))
    return LoadedModel(model, student_family, teacher.tokenizer, teacher.labels, {}, report)


def fresh_like(
    path: str, teacher: LoadedModel, outputs: int | None, *, model_type: str, seed: int, do_lower_case: bool | None = None
) -> LoadedModel:
    """A student with random weights in the shape given by a folder's config.json, with the vocabulary of the folder or the teacher.

    Raises:
        UserError: no such folder, or a configuration of something other than an encoder.
    """
    folder = resolve(path, "student")
    student_family = family(model_type)
    paddle.seed(runtime.derive_seed(seed, "student"))
    model = build(student_family, read_config(folder), outputs, str(folder))
    tokenizer = WordPiece.from_folder(folder, do_lower_case) if has_vocabulary(folder) else teacher.tokenizer
    left = " (its weights are not loaded: use --continue_train to load them)" if weights_files(folder) else ""
    report = LoadReport(f"random weights in the shape of {config_file(folder)}{left}", fresh=list(model.state_dict()))
    student = LoadedModel(model, student_family, tokenizer, teacher.labels, {}, report)
    check_vocabulary(str(folder), student)
    return student


def check_fit(
    teacher: LoadedModel | ModelInfo, student: LoadedModel, max_seq_length: int, compares_tokens: bool, compares_scores: bool, heads: str
) -> None:
    """Reject an incompatible teacher and student before training starts.

    compares_tokens: whether the student learns anything about single tokens, which requires the same tokens.
    heads: `match` rejects different numbers of heads if attention scores are compared; `average` compares averages over heads.

    Raises:
        UserError: different vocabularies, too few positions, or different numbers of heads.
    """
    if compares_tokens and not have_same_tokens(student.tokenizer, teacher.tokenizer):
        same_size = teacher.tokenizer.vocab_size == student.tokenizer.vocab_size
        what = (
            "vocabularies of the same size that differ in tokens, order or lower-casing"
            if same_size
            else f"vocabularies of {teacher.tokenizer.vocab_size} and {student.tokenizer.vocab_size} tokens"
        )
        raise UserError(
            f"teacher and student have {what}: their tokens cannot be matched, and this method compares them one by one.\n"
            "Choose a student with the teacher's vocabulary (--student_init, --student_layers, or another checkpoint), or use "
            "--method logits for whole rows, where each model reads the text with its own tokenizer."
        )
    for role, loaded in (("teacher", teacher), ("student", student)):
        check_positions(role, loaded, max_seq_length)
    counts = [int(loaded.config.num_attention_heads) for loaded in (teacher, student)]
    if compares_scores and counts[0] != counts[1] and heads == "match":
        raise UserError(
            f"the teacher has {counts[0]} attention heads and the student {counts[1]}: their scores cannot be compared head by head.\n"
            "Use --attention_heads average, disable the attention loss with --use_att False, or choose a student with "
            f"{counts[0]} heads."
        )
