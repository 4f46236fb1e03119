"""The student of a distillation run, as its command line describes it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import paddle

from tinybert import runtime
from tinybert.errors import UserError
from tinybert.models import hub
from tinybert.models.configuration import read_config
from tinybert.models.loading import LoadedModel, load_classifier, load_encoder
from tinybert.models.outline import ModelInfo
from tinybert.models.students import fresh_like, fresh_student, parse_init, student_from_teacher
from tinybert.recipes.teacher_source import LazyTeacher


def make_student(arguments, teacher: LazyTeacher | None, labels: tuple[str, ...]) -> LoadedModel:
    """A checkpoint, layers of the teacher, or a shape.

    Raises:
        UserError: no teacher to take a vocabulary from, or a checkpoint that cannot be read.
    """
    outputs = max(1, len(labels))
    paddle.seed(runtime.derive_seed(arguments.seed, "student"))
    if arguments.student_model_name_or_path is not None:
        return load_classifier(
            arguments.student_model_name_or_path,
            labels=labels,
            needs_head=False,
            do_lower_case=arguments.do_lower_case,
            role="student",
        )
    if teacher is None:
        raise UserError("a fresh student takes its vocabulary from a teacher: give --teacher_path, or a student's folder.")
    return _new_student(arguments, teacher.known, teacher.load, outputs)


def make_general_student(arguments, spelled: dict[str, str], teacher: LoadedModel) -> LoadedModel:
    """The student of general distillation: a folder's shape or weights, layers of the teacher, or a shape.

    A name of PaddleNLP's in PaddleNLP's spelling means that model's weights, as in its script; Huawei's spelling means a shape.
    """
    paddle.seed(runtime.derive_seed(arguments.seed, "student"))
    path = arguments.student_model_name_or_path
    named = path is not None and not Path(path).expanduser().is_dir() and spelled.get("student_model_name_or_path") != "student_model"
    if path is not None and (arguments.continue_train or named):
        return load_encoder(path, do_lower_case=arguments.do_lower_case, role="student")
    if path is not None:
        return fresh_like(path, teacher, None, model_type=arguments.model_type, seed=arguments.seed, do_lower_case=arguments.do_lower_case)
    return _new_student(arguments, teacher, lambda: teacher, None)


def _new_student(arguments, known: LoadedModel | ModelInfo, load: Callable[[], LoadedModel], outputs: int | None) -> LoadedModel:
    """Layers of the teacher, which is loaded for them, or a shape."""
    if arguments.student_init is not None:
        source = load()
        return student_from_teacher(source, parse_init(arguments.student_init, source.config.num_hidden_layers), outputs)
    return fresh_student(
        known,
        outputs,
        model_type=arguments.model_type,
        layers=arguments.student_layers,
        hidden=arguments.student_hidden,
        heads=arguments.student_heads,
        ffn=arguments.student_ffn,
        seed=arguments.seed,
    )


def named_student(arguments, output: Path, written: tuple[str, ...]) -> str | None:
    """The student's path; of the run's own output folder, what an earlier stage left there.

    Such a folder stands for its best model, which would be the one that this run makes as soon as it has made one.
    """
    path = arguments.student_model_name_or_path
    if path is None or not output.is_dir() or Path(path).expanduser().resolve() != output.resolve():
        return path
    return str(hub.resolve(path, "student", written))


def student_depth(arguments) -> int | None:
    """The student's number of layers, where the preset has numbers for each depth; None where it is not asked or not known yet."""
    if arguments.preset != "emd":
        return None
    if arguments.student_model_name_or_path is None:
        return arguments.student_layers or len(parse_init(arguments.student_init, sys.maxsize))
    layers = read_config(hub.resolve(arguments.student_model_name_or_path, "student")).get("num_hidden_layers")
    return layers if isinstance(layers, int) else None  # anything else is refused when the student is loaded
