"""Creates the student of a distillation run from its command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import paddle

from tinybert import runtime
from tinybert.commands.general import GeneralDistillConfig
from tinybert.config.options import Config
from tinybert.config.preset import read_preset
from tinybert.errors import UserError
from tinybert.kinds.kind import Kind
from tinybert.models import hub
from tinybert.models.configuration import read_config
from tinybert.models.loading import LoadedModel, load_classifier, load_encoder
from tinybert.models.model_info import ModelInfo
from tinybert.models.students import fresh_like, fresh_student, parse_init, student_from_teacher
from tinybert.recipes.teacher_source import LazyTeacher


def make_student(config: Config, teacher: LazyTeacher | None, labels: tuple[str, ...], kind: Kind) -> LoadedModel:
    """A checkpoint, layers of the teacher, or a shape.

    Raises:
        UserError: there is no teacher for the vocabulary, or the checkpoint cannot be read.
    """
    paddle.seed(runtime.derive_seed(config.seed, "student"))
    if config.student_model_name_or_path is not None:
        return load_classifier(
            config.student_model_name_or_path,
            labels=labels,
            needs_head=False,
            kind=kind,
            do_lower_case=config.do_lower_case,
            role="student",
        )
    if teacher is None:
        raise UserError("a new student takes its vocabulary from a teacher: give --teacher_path or a student's folder.")
    return replace(_new_student(config, teacher.known, teacher.load, kind.outputs(labels), kind.head), kind=kind)


def make_general_student(config: GeneralDistillConfig, teacher: LoadedModel) -> LoadedModel:
    """The student of general distillation: a folder's shape or weights, layers of the teacher, or a shape.

    A PaddleNLP name given with PaddleNLP's option means that model's weights, as in its script; Huawei's option means a shape.
    """
    paddle.seed(runtime.derive_seed(config.seed, "student"))
    path = config.student_model_name_or_path
    a_shape = config.spelled.get("student_model_name_or_path") == "student_model"
    named = path is not None and not Path(path).expanduser().is_dir() and not a_shape
    if path is not None and (config.continue_train or named):
        return load_encoder(path, do_lower_case=config.do_lower_case, role="student")
    if path is not None:
        return fresh_like(path, teacher, None, model_type=config.model_type, seed=config.seed, do_lower_case=config.do_lower_case)
    return _new_student(config, teacher, lambda: teacher, None)


def _new_student(
    config: Config, known: LoadedModel | ModelInfo, load: Callable[[], LoadedModel], outputs: int | None, head: str = "sequence"
) -> LoadedModel:
    """Layers of the teacher, which is loaded for this, or a shape."""
    if config.student_init is not None:
        source = load()
        return student_from_teacher(source, parse_init(config.student_init, source.config.num_hidden_layers), outputs)
    return fresh_student(
        known,
        outputs,
        model_type=config.model_type,
        layers=config.student_layers,
        hidden=config.student_hidden,
        heads=config.student_heads,
        ffn=config.student_ffn,
        seed=config.seed,
        head=head,
    )


def named_student(config: Config, output: Path, written: tuple[str, ...]) -> str | None:
    """The student's path; if it is the run's own output folder, the result of an earlier stage there.

    Such a folder would otherwise stand for its best model, which may be one that this run writes.
    """
    path = config.student_model_name_or_path
    if path is None or not output.is_dir() or Path(path).expanduser().resolve() != output.resolve():
        return path
    return str(hub.resolve(path, "student", written))


def student_depth(config: Config) -> int | None:
    """The student's number of layers, for presets that depend on it; None if not needed or not known yet."""
    if not read_preset(config.preset).depths("distill", "prediction", None):
        return None
    if config.student_model_name_or_path is None:
        return config.student_layers or len(parse_init(config.student_init, sys.maxsize))
    layers = read_config(hub.resolve(config.student_model_name_or_path, "student")).get("num_hidden_layers")
    return layers if isinstance(layers, int) else None  # invalid values are rejected when the student is loaded
