"""General distillation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tinybert.commands.registry import command
from tinybert.config import dialects
from tinybert.config.dialects import HUAWEI, PADDLENLP
from tinybert.config.distilling import ORDER, ModelOptions, TeacherOptions, in_models
from tinybert.config.groups import PRESET as FROM_PRESET
from tinybert.config.groups import OptimisationOptions, TrainingRunOptions, common_checks, in_data, in_run
from tinybert.config.notices import Notice
from tinybert.config.options import Alias, Derived
from tinybert.config.preset import preset_names
from tinybert.config.resolve import resolve_stages
from tinybert.config.resolved import Resolved, Settings
from tinybert.config.student_choice import check_student
from tinybert.errors import UserError
from tinybert.methods.command import MethodOptions

if TYPE_CHECKING:
    from tinybert.config.resolve import Context


def _has_rows(context: Context) -> str | None:
    return "pregenerated_data already contains the rows" if context.facts["data_length"] is not None else None


def _length_of_data(context: Context) -> Derived | None:
    length = context.facts["data_length"]
    return None if length is None else Derived(length, "pregenerated_data")


@command(
    "general",
    summary="distil a pre-trained teacher into a general student (general_distill.py)",
    recipe="general_distill:general_distill",
    script="general_distill.py",
)
class GeneralDistillConfig(MethodOptions, TrainingRunOptions, OptimisationOptions, TeacherOptions, ModelOptions):
    """Distil a pre-trained teacher into a general student on raw text; general students are the starting point for task distillation."""

    IGNORED = dialects.IGNORED_GENERAL
    GROUPS = ORDER
    COMMAND = "general"
    PRESET_SECTION = "distill"

    teacher_path: str | None = in_models(
        None,
        help="folder or name of the pre-trained teacher; its head is not used",
        alias=(Alias("teacher_model", HUAWEI), Alias("teacher_model_name_or_path", PADDLENLP)),
        unset="required",
    )
    student_model_name_or_path: str | None = in_models(
        None,
        help="folder whose config.json defines the student's shape (with continue_train, also its weights), or a model name, "
        "whose weights are used",
        alias=(Alias("student_model", HUAWEI),),
        unset="required unless student_init or student_layers is given",
    )
    continue_train: bool = in_models(False, help="start from the weights of student_model_name_or_path instead of random weights")
    pregenerated_data: Path | None = in_data(
        None, help="folder written by `python -m tinybert pregenerate`, or the published script's JSON lines"
    )
    input_dir: Path | None = in_data(
        None, help="raw text instead: a file, a folder or a pattern; tokenised once and cached, with the same rows in every epoch"
    )
    sequences: str | None = in_data(
        None,
        help="rows made from input_dir: packed with as many sentences of a document as fit, or one truncated row per line (lines)",
        choices=("packed", "lines"),
        unset=FROM_PRESET,
        setting=True,
        no_effect=_has_rows,
    )
    max_seq_length: int | None = in_data(
        None,
        help="maximum tokens per sequence of input_dir, including [CLS] and [SEP]; pregenerated_data has its own length",
        unset=FROM_PRESET,
        at_least=4,
        setting=True,
        derived=_length_of_data,
    )
    do_lower_case: bool | None = in_data(None, help="lower-case the text", unset="from the teacher's tokenizer", setting=True)
    pad_to_max_length: bool | None = in_data(
        None,
        help="pad every batch to max_seq_length, like the published script, instead of to its longest row",
        unset=FROM_PRESET,
        setting=True,
    )
    held_out_sequences: int = in_data(
        1000,
        help="number of sequences held out at the end of each epoch's data; those of the first epoch select the best model",
        at_least=1,
        setting=True,
    )
    output_dir: Path = in_run(help="output folder")
    preset: str = in_run(
        "sound",
        help="preset with the values of options that are not given",
        choices=preset_names("general"),
    )
    save_steps: int = in_run(
        1000,
        help="evaluate every N updates and keep the best model; 0: once per epoch",
        alias=(Alias("eval_step", HUAWEI),),
        at_least=0,
        setting=True,
        does="scores",
    )

    def check(self) -> list[Notice]:
        """Reject missing or contradictory sources, teachers and students, and a malformed layer map."""
        notes = [*super().check(), *common_checks(self)]
        if self.pregenerated_data is None and self.input_dir is None:
            raise UserError(
                "no training data: --pregenerated_data is missing\n"
                "give a folder written by `python -m tinybert pregenerate`, or raw text with --input_dir"
            )
        if self.pregenerated_data is not None and self.input_dir is not None:
            raise UserError("--pregenerated_data and --input_dir are two sources of text\ngive only one of them")
        if self.teacher_path is None:
            raise UserError("--teacher_path (or --teacher_model) is missing\ngive the folder of a pre-trained encoder")
        check_student(self)
        if self.continue_train and self.student_model_name_or_path is None:
            raise UserError("--continue_train starts from a student's weights\ngive its folder with --student_model_name_or_path")
        self.resolve(None if self.pregenerated_data is None else 128)  # rejects settings that leave nothing to learn
        return notes

    def resolve(self, data_length: int | None) -> Resolved:
        """The settings, as `resolved["general"]`. data_length: of pre-generated sequences, sets max_seq_length; None for raw text.

        Raises:
            UserError: there is nothing to learn.
        """
        return resolve_stages(self, ("general",), data_length=data_length)

    def about(self, context: Context) -> dict[str, object]:
        """Stage, preset and method."""
        return {**super().about(context), "method": self.method}

    def stage_notices(self, settings: Mapping[str, Settings]) -> list[Notice]:
        """Warn that PaddleNLP's script stops earlier."""
        if self.preset != "paddlenlp" or self.max_steps > 0:
            return []
        text = "PaddleNLP's script stops after its first step unless max_steps is given; here num_train_epochs applies"
        return [Notice("published-first-step", text)]
